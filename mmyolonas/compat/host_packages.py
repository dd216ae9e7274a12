"""Repairs for how mmengine, mmpose and mmdeploy find and import packages."""
import importlib
import importlib.metadata
import pkgutil
import sys
from types import ModuleType

from mmyolonas.compat.core import has_module, offer, repair


@repair('xtcocotools._mask', 'xtcocotools <= 1.14.3 with numpy 2')
def _alias_xtcocotools_mask() -> str | None:
    if not has_module('xtcocotools._mask'):
        return None
    import numpy as np
    try:
        # The wheel fails to import, one built from source fails to decode.
        mask = importlib.import_module('xtcocotools._mask')
        mask.decode(mask.encode(np.ones((1, 1, 1), np.uint8, order='F')))
        return None
    except Exception as error:
        mask = importlib.import_module('pycocotools._mask')
        sys.modules['xtcocotools._mask'] = mask
        sys.modules['xtcocotools']._mask = mask
        return ('its extension was made for another numpy '
                f'({error}); pycocotools supplies the same functions')


@repair('pkg_resources', 'setuptools >= 81 (mmengine 0.10.7, mmdeploy 1.3.1)')
def _offer_pkg_resources() -> str | None:
    if 'pkg_resources' in sys.modules or has_module('pkg_resources'):
        return None
    offer('pkg_resources', _fill_pkg_resources)
    return ('setuptools no longer ships it and mmengine asks it where '
            'packages are installed; importlib.metadata answers')


class _Distribution:
    """The few things that mmengine and mmdeploy ask of a distribution."""

    def __init__(self, found: importlib.metadata.Distribution):
        self._found = found
        self.project_name = found.metadata['Name']
        self.key = self.project_name.lower()
        self.version = found.version
        self.location = str(found.locate_file(''))

    def has_metadata(self, name: str) -> bool:
        return self._found.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        return self._found.read_text(name) or ''


class _DistributionNotFound(Exception):
    """Must outlive importlib.reload, which mmengine does before it catches."""


class _WorkingSet:

    @property
    def by_key(self) -> dict[str, _Distribution]:
        found = map(_Distribution, importlib.metadata.distributions())
        return {distribution.key: distribution for distribution in found}

    def __iter__(self):
        return iter(self.by_key.values())


def _get_distribution(name: str) -> _Distribution:
    try:
        return _Distribution(importlib.metadata.distribution(name))
    except importlib.metadata.PackageNotFoundError as error:
        raise _DistributionNotFound(name) from error


def _declare_namespace(name: str) -> None:
    package = sys.modules[name]
    package.__path__ = pkgutil.extend_path(package.__path__, name)


def _fill_pkg_resources(module: ModuleType) -> None:
    from packaging.version import parse
    module.__doc__ = 'Stand-in for pkg_resources by mmyolonas.'
    module.DistributionNotFound = _DistributionNotFound
    module.get_distribution = _get_distribution
    module.working_set = _WorkingSet()
    module.declare_namespace = _declare_namespace
    module.parse_version = parse


@repair('mmyolonas:: configs', 'every mmengine')
def _register_config_package() -> str | None:
    """Let ``_base_ = 'mmyolonas::...'`` and inferencers find our configs.

    mmengine looks for a distribution of the name it has in its table and
    joins its location with that name, which is wrong for an editable install.
    For a name that is no distribution it takes the folder of that module; so
    the entry names a module inside the package, which is right always.

    mmengine also has everything that such a config describes built in the
    scope of its package, where the host's types are unknown. Ours set
    ``default_scope`` to their host, so they are read like configs in a folder.
    """
    if not has_module('mmengine'):
        return None
    from mmengine.config import Config, utils
    if 'mmyolonas' in utils.MODULE2PACKAGE:
        return None
    utils.MODULE2PACKAGE['mmyolonas'] = 'mmyolonas.version'
    original = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple:
        path, scope = original(cfg_path, filename)
        return path, None if scope == 'mmyolonas' else scope

    Config._get_cfg_path = staticmethod(get_cfg_path)
    return 'mmengine finds configs of the packages in its own table only'
