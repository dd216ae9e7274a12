"""Repairs for other packages' versions, applied by ``import mmyolonas``.

Nothing else in mmyolonas knows what a version of another package breaks. Each
repair is a function of its own that tests whether the feature works, never a
version string: it returns why it was applied, or None where nothing was to be
done. :func:`repairs` lists what happened, ``python -m mmyolonas.doctor``
prints it.

Stand-in modules come from a finder at the *end* of ``sys.meta_path``, so that
a module which is really installed always wins, also one installed later.
"""
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

#: How to get every compiled mmcv operator; said wherever one is missing.
COMPILED_MMCV = (
    "pip uninstall -y mmcv-lite && pip install 'setuptools<81' ninja && "
    'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv '
    "'mmcv>=2.0.1,<2.2'")


@dataclass
class Repair:
    """What became of one repair.

    Args:
        name: The thing that is repaired.
        versions: The versions of other packages that need it.
        status: 'applied', 'not needed' or 'failed'.
        why: The reason, for people.
    """
    name: str
    versions: str
    status: str = 'not needed'
    why: str = ''


class OpNotAvailableError(NotImplementedError):
    """An operator of compiled mmcv was called that the stand-in lacks."""

    def __init__(self, op: str):
        super().__init__(
            f"mmcv operator '{op}' needs compiled mmcv, but mmcv-lite is "
            'installed and mmyolonas supplies only NMS and average RoIAlign '
            f'(from torchvision). Get compiled mmcv with: {COMPILED_MMCV}')
        self.op = op


_RECORD: dict[str, Repair] = {}
_REPAIRS: list[tuple[str, str, Callable[[], str | None]]] = []
_STAND_INS: dict[str, Callable[[ModuleType], None]] = {}


class _StandInFinder(importlib.abc.MetaPathFinder):
    """Offers stand-ins for modules that nothing else could find."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None):
        if name not in _STAND_INS:
            return None
        return importlib.machinery.ModuleSpec(
            name, _StandInLoader(), origin='mmyolonas.compat')


class _StandInLoader(importlib.abc.Loader):

    @staticmethod
    def create_module(spec) -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        _STAND_INS[module.__spec__.name](module)


def _offer(name: str, fill: Callable[[ModuleType], None]) -> None:
    """Offer a stand-in for module ``name``, filled by ``fill(module)``."""
    _STAND_INS[name] = fill
    if not any(f is _StandInFinder for f in sys.meta_path):
        sys.meta_path.append(_StandInFinder)


def _repair(name: str, versions: str):
    """Register a repair that :func:`setup` tries."""

    def register(function: Callable[[], str | None]):
        _REPAIRS.append((name, versions, function))
        return function

    return register


def _run(name: str, versions: str, function: Callable[[], str | None]) -> None:
    if name in _RECORD:
        return
    record = _RECORD[name] = Repair(name, versions)
    try:
        why = function()
    except Exception as error:  # a repair must never break the import
        record.status, record.why = 'failed', f'{error}'
    else:
        if why:
            record.status, record.why = 'applied', why


def setup() -> None:
    """Apply every repair that this environment needs; once per process."""
    for name, versions, function in _REPAIRS:
        _run(name, versions, function)


def repairs() -> list[Repair]:
    """What :func:`setup` did, one entry for each repair, in order."""
    return list(_RECORD.values())


# --- mmcv._ext --------------------------------------------------------------


def _has_module(name: str) -> bool:
    """Whether a real module (no stand-in) exists; parents stay unimported."""
    path = None
    for end in range(len(name.split('.'))):
        part = '.'.join(name.split('.')[:end + 1])
        spec = importlib.machinery.PathFinder.find_spec(part, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


@_repair('mmcv._ext', 'mmcv-lite 2.x')
def _offer_mmcv_ext() -> str | None:
    if 'mmcv._ext' in sys.modules or not _has_module('mmcv') or _has_module(
            'mmcv._ext'):
        return None
    _offer('mmcv._ext', _fill_mmcv_ext)
    return ('mmcv is installed without its compiled operators: NMS and '
            'RoIAlign come from torchvision, every other operator names the '
            'cure when it is called')


def _fill_mmcv_ext(module: ModuleType) -> None:
    module.__doc__ = 'Stand-in for mmcv._ext by mmyolonas.'
    module.nms = _nms
    module.roi_align_forward = _roi_align_forward
    module.roi_align_backward = _roi_align_backward
    module.get_compiler_version = lambda: 'n/a (mmyolonas stand-in)'
    module.get_compiling_cuda_version = lambda: 'n/a (mmyolonas stand-in)'

    def missing(op: str) -> Callable:
        if op.startswith('__'):
            raise AttributeError(op)

        def refuse(*args, **kwargs):
            raise OpNotAvailableError(op)

        return refuse

    module.__getattr__ = missing


def _nms(boxes, scores, iou_threshold: float, offset: int = 0):
    """Indices of the boxes that greedy NMS keeps, by falling score.

    Args:
        boxes (Tensor): (N, 4) xyxy, pixels.
        scores (Tensor): (N,).
        iou_threshold: A box above this IoU with a kept one is dropped.
        offset: 1 counts the last pixel in (width is x2 - x1 + 1), else 0.

    Returns:
        Tensor: (K,) int64.
    """
    import torch
    from torchvision.ops import nms
    # torchvision's CPU kernel knows no half precision and wants one dtype.
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes, scores = boxes.detach().to(dtype), scores.detach().to(dtype)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return nms(boxes, scores, iou_threshold)


def _roi_align_forward(input,
                       rois,
                       output,
                       argmax_y,
                       argmax_x,
                       *,
                       aligned_height: int,
                       aligned_width: int,
                       spatial_scale: float,
                       sampling_ratio: int,
                       pool_mode: int,
                       aligned: bool) -> None:
    """Fill ``output`` (R, C, H, W) in place; rois are (R, 5), image first."""
    from torchvision.ops import roi_align
    if pool_mode != 1:
        raise OpNotAvailableError('roi_align (pool_mode="max")')
    output.copy_(
        roi_align(input, rois.to(input.dtype),
                  (aligned_height, aligned_width), spatial_scale,
                  sampling_ratio, aligned))


def _roi_align_backward(grad_output,
                        rois,
                        argmax_y,
                        argmax_x,
                        grad_input,
                        *,
                        aligned_height: int,
                        aligned_width: int,
                        spatial_scale: float,
                        sampling_ratio: int,
                        pool_mode: int,
                        aligned: bool) -> None:
    """Fill ``grad_input`` (B, C, H, W) in place, the forward's counterpart."""
    import torch
    import torchvision  # noqa: F401, registers the operator
    if pool_mode != 1:
        raise OpNotAvailableError('roi_align (pool_mode="max")')
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output, rois.to(grad_output.dtype), spatial_scale,
            aligned_height, aligned_width, *grad_input.shape, sampling_ratio,
            aligned))


# --- xtcocotools ------------------------------------------------------------


@_repair('xtcocotools._mask', 'xtcocotools <= 1.14.3 wheels with numpy 2')
def _alias_xtcocotools_mask() -> str | None:
    if not _has_module('xtcocotools._mask'):
        return None
    try:
        importlib.import_module('xtcocotools._mask')
        return None
    except (ImportError, ValueError) as error:
        mask = importlib.import_module('pycocotools._mask')
        sys.modules['xtcocotools._mask'] = mask
        sys.modules['xtcocotools']._mask = mask
        return ('its extension is built for another numpy '
                f'({error}); pycocotools supplies the same functions')


# --- pkg_resources ----------------------------------------------------------


@_repair('pkg_resources', 'setuptools >= 81 (mmengine 0.10.7, mmdeploy 1.3.1)')
def _offer_pkg_resources() -> str | None:
    if 'pkg_resources' in sys.modules or _has_module('pkg_resources'):
        return None
    _offer('pkg_resources', _fill_pkg_resources)
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


def _fill_pkg_resources(module: ModuleType) -> None:
    import pkgutil

    from packaging.version import parse

    class DistributionNotFound(Exception):
        pass

    class WorkingSet:

        @property
        def by_key(self) -> dict[str, _Distribution]:
            found = map(_Distribution, importlib.metadata.distributions())
            return {dist.key: dist for dist in found}

        def __iter__(self):
            return iter(self.by_key.values())

    def get_distribution(name: str) -> _Distribution:
        try:
            return _Distribution(importlib.metadata.distribution(name))
        except importlib.metadata.PackageNotFoundError as error:
            raise DistributionNotFound(name) from error

    def declare_namespace(name: str) -> None:
        package = sys.modules[name]
        package.__path__ = pkgutil.extend_path(package.__path__, name)

    module.__doc__ = 'Stand-in for pkg_resources by mmyolonas.'
    module.DistributionNotFound = DistributionNotFound
    module.get_distribution = get_distribution
    module.working_set = WorkingSet()
    module.declare_namespace = declare_namespace
    module.parse_version = parse


# --- mmengine ---------------------------------------------------------------


@_repair('mmyolonas:: configs', 'every mmengine')
def _register_config_package() -> str | None:
    """Let ``_base_ = 'mmyolonas::...'`` and inferencers find our configs.

    mmengine looks for a distribution of the name it has in its table and
    joins its location with that name, which is wrong for an editable install.
    For a name that is no distribution it takes the folder of that module; so
    the entry names a module inside the package, which is right always.
    """
    if not _has_module('mmengine'):
        return None
    from mmengine.config import utils
    if 'mmyolonas' in utils.MODULE2PACKAGE:
        return None
    utils.MODULE2PACKAGE['mmyolonas'] = 'mmyolonas.version'
    return 'mmengine finds configs of the packages in its own table only'


@_repair('torch.load', 'torch >= 2.6 with mmengine <= 0.10.7')
def _allow_mmengine_checkpoints() -> str | None:
    """Let the safe ``torch.load`` read what mmengine writes, and no more."""
    if not (_has_module('mmengine') and _has_module('torch')):
        return None
    import pickle

    import torch
    from mmengine.logging import HistoryBuffer
    buffer = io.BytesIO()
    torch.save(HistoryBuffer(), buffer)
    try:
        torch.load(io.BytesIO(buffer.getvalue()))
        return None
    except pickle.UnpicklingError:
        torch.serialization.add_safe_globals(_checkpoint_globals())
        torch.load(io.BytesIO(buffer.getvalue()))
    return ("mmengine's checkpoints hold its log buffers, configs and numpy "
            'values; these types were allowed, loading stays safe')


def _checkpoint_globals() -> list:
    """Types and functions that mmengine's checkpoints are made of."""
    import numpy as np
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer
    multiarray = importlib.import_module(
        'numpy._core.multiarray' if hasattr(np, '_core') else
        'numpy.core.multiarray')

    def history_getattr(owner: Any, name: str) -> Callable:
        # HistoryBuffer pickles its statistics as getattr(HistoryBuffer, name);
        # a free getattr would undo the safety of weights_only.
        if owner is not HistoryBuffer or name not in ('min', 'max', 'mean',
                                                      'current'):
            raise ValueError(f'refused to load getattr({owner!r}, {name!r})')
        return getattr(owner, name)

    def named(function: Callable, path: str) -> Callable:
        """The function, known to the unpickler under another name."""

        def renamed(*args):
            return function(*args)

        renamed.__module__, _, renamed.__qualname__ = path.rpartition('.')
        return renamed

    found = [HistoryBuffer, ConfigDict, np.ndarray, np.dtype, bytes]
    found.append(named(history_getattr, 'builtins.getattr'))
    for package in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            found.append(
                named(
                    getattr(multiarray, name), f'{package}.multiarray.{name}'))
    found.extend({type(np.dtype(code)) for code in '?bBhHiIlLqQefdgSUmM'})
    return found
