"""Configs by path or by the name of the package that ships them."""
import difflib
import os
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from mmyolonas.utils.errors import UserError


def load_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config and apply ``--cfg-options``.

    Args:
        path (str): Config file, or ``mmyolonas::yolonas/yolonas_s_coco.py`` for
            one that is installed with the package.
        cfg_options (dict, optional): Keys (with dots) and values to override.

    Raises:
        UserError: There is no such file; the message names similar ones.
    """
    if '::' in path and not Path(path).is_file():
        # mmengine resolves package configs of _base_ entries only
        path = str(installed_config(path))
    if not Path(path).is_file():
        raise UserError(f'config {path} does not exist.{_similar_configs(path)}')
    cfg = Config.fromfile(path)
    if cfg_options:
        try:
            cfg.merge_from_dict(cfg_options)
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(f'--cfg-options do not fit the config: {error}') from error
    return cfg


def installed_config(name: str) -> Path:
    """Return the path of ``package::relative/config.py``."""
    from importlib.util import find_spec
    package, _, relative = name.partition('::')
    spec = find_spec(package)
    if spec is None:
        raise UserError(f'{name}: package {package} is not installed.')
    folder = Path(spec.origin).parent
    for root in (folder / '.mim' / 'configs', folder.parent / 'configs'):
        if (root / relative).is_file():
            return root / relative
    return folder / '.mim' / 'configs' / relative


def _similar_configs(path: str) -> str:
    folders = [Path('configs'), Path(__file__).parents[2] / 'configs']
    found = {p.stem: p for folder in folders for p in sorted(folder.rglob('*.py'))
             if '_base_' not in p.parts}
    names = difflib.get_close_matches(Path(path).stem, found, n=3, cutoff=0.5)
    if not names:
        return ' Give the path of a config file, for example configs/yolonas/yolonas_s_coco.py.'
    return f' Did you mean {", ".join(os.path.relpath(found[name]) for name in names)}?'
