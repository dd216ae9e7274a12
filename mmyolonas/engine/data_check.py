"""Looks whether the data of a config is there, before anything is built."""
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from mmengine.config import Config

from mmyolonas.utils.errors import UserError


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise if a data loader's annotation file or image folder does not exist.

    Args:
        cfg (Config): The config.
        loaders (Sequence[str]): Keys such as 'train_dataloader'; absent ones are
            skipped.

    Raises:
        UserError: Something is missing; the message says what and what to do.
    """
    for key in loaders:
        loader = cfg.get(key)
        if not isinstance(loader, dict):
            continue
        for dataset in _leaves(loader.get('dataset', {})):
            for name, path in _paths(dataset):
                if not path.exists():
                    raise UserError(
                        f'the {name} of {key} does not exist: {path} '
                        f'(seen from {Path.cwd()}). Put the data there or link it '
                        f'(ln -s /path/to/data {_top(path)}), or say where it is with '
                        f'--cfg-options {key}.dataset.data_root=/path/to/data/')


def _leaves(dataset) -> Iterator[dict]:
    """Yield the plain datasets below wrappers."""
    if not isinstance(dataset, dict):
        return
    inner = [dataset.get('dataset'), *(dataset.get('datasets') or [])]
    inner = [item for item in inner if isinstance(item, dict)]
    if not inner:
        yield dataset
    for item in inner:
        yield from _leaves(item)


def _paths(dataset: dict) -> Iterator[Tuple[str, Path]]:
    root = dataset.get('data_root') or ''
    if '://' in root or dataset.get('backend_args'):
        return
    annotation = dataset.get('ann_file') or ''
    if annotation and '://' not in annotation:
        yield 'annotation file', Path(root) / annotation
    prefix = (dataset.get('data_prefix') or {}).get('img')
    if root and prefix is not None and '://' not in prefix:
        yield 'image folder', Path(root) / prefix


def _top(path: Path) -> Path:
    """Return the first folder of a path that does not exist."""
    for parent in [*reversed(path.parents), path]:
        if not parent.exists():
            return parent
    return path
