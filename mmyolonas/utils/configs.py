"""Configs by path or by the name of the package that ships them."""
import difflib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from mmengine.config import Config

from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import ConfigError, UserError


def load_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config and apply ``--cfg-options``.

    Args:
        path (str): Config file, or ``mmyolonas::yolonas/yolonas_s_coco.py`` for
            one that is installed with the package.
        cfg_options (dict, optional): Keys (with dots) and values to override.

    Raises:
        UserError: There is no such file (the message names similar ones), it cannot be
            read, or the options do not fit it.
    """
    if '::' in path and not Path(path).is_file():
        # mmengine resolves package configs of _base_ entries only
        path = str(installed_config(path))
    if not Path(path).is_file():
        raise UserError(f'config {path} does not exist.{_similar_configs(path)}')
    try:
        cfg = Config.fromfile(path)
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a config is code, and may fail in every way
        reason = ' '.join(str(error).split())[:300]
        raise UserError(f'config {path} cannot be read: {type(error).__name__}: {reason}') \
            from error
    if cfg_options:
        try:
            cfg.merge_from_dict(cfg_options)
        except (AssertionError, AttributeError, KeyError, TypeError, IndexError,
                ValueError) as error:
            raise UserError(f'--cfg-options do not fit the config: {error}') from error
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(cfg.get(name), dict):
            _check_workers(cfg[name], name)
    return cfg


def _check_workers(loader: dict, name: str) -> None:
    """Let a data loader do without workers: PyTorch refuses what belongs to them then."""
    workers = loader.get('num_workers', 0)
    if type(workers) is not int or workers < 0:
        raise UserError(f'{name}.num_workers must be a whole number of at least 0, got '
                        f'{workers!r}.')
    if workers == 0:
        loader.pop('prefetch_factor', None)
        loader['persistent_workers'] = False


@contextmanager
def config_errors() -> Iterator[None]:
    """Say in a sentence what cannot be built from a config.

    Raises:
        ConfigError: Something failed while it was built.
    """
    try:
        yield
    except (UserError, DataError, OSError, MemoryError):
        raise
    except (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError,
            RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, ImportError) and 'Install it with' in str(error):
            raise
        reason = ' '.join(str(error).split())[:300]
        raise ConfigError(f'the config cannot be built: {type(error).__name__}: {reason}') \
            from error


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
