"""Images of a config's data sets as the network sees them."""
import copy
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from torch import Tensor

from mmyolonas.utils import UserError, track

SPLITS = ('train', 'val', 'test')


@dataclass
class Sample:
    """One image after the test pipeline and the data preprocessor.

    Args:
        inputs (Tensor): Network input (1, 3, H, W).
        data_sample: mmdet's or mmpose's data sample.
    """
    inputs: Tensor
    data_sample: Any


def _innermost(dataset: Dict) -> Dict:
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset


def build_dataset(cfg: Any, split: str = 'test') -> Any:
    """Build the data set of a split with the pipeline of the test set.

    Args:
        cfg (Config): Model config.
        split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to ``'test'``.

    Raises:
        UserError: Unknown split, or the config has no such data.
    """
    if split not in SPLITS:
        raise UserError(f'split must be one of {", ".join(SPLITS)}, got {split!r}.')
    for key in ('test_dataloader', f'{split}_dataloader'):
        if not cfg.get(key):
            raise UserError(f'the config has no {key}; the images are read through it.')
    dataset = copy.deepcopy(_innermost(cfg.test_dataloader.dataset))
    if split != 'test':
        source = _innermost(cfg[f'{split}_dataloader'].dataset)
        for key in ('data_root', 'ann_file', 'data_prefix', 'metainfo', 'indices'):
            if key in source:
                dataset[key] = copy.deepcopy(source[key])
    dataset['test_mode'] = True
    dataset.pop('filter_cfg', None)
    try:
        return DATASETS.build(dataset)
    except FileNotFoundError as error:
        raise UserError(f'the {split} data is not there: {error}') from error


def load_samples(cfg: Any, model: BaseModel, split: str = 'test',
                 num_images: Optional[int] = None) -> Iterator[Sample]:
    """Yield images of a split, spread evenly over it, always the same ones.

    Args:
        cfg (Config): Model config.
        model (BaseModel): Its data preprocessor is used.
        split (str): See :func:`build_dataset`.
        num_images (int, optional): How many; None for all.

    Raises:
        UserError: There are fewer images than asked for, or none.
    """
    dataset = build_dataset(cfg, split)
    total = len(dataset)
    num_images = total if num_images is None else num_images
    if total == 0:
        raise UserError(f'the {split} set is empty; check its annotation file and folder.')
    if not 0 < num_images <= total:
        raise UserError(f'{num_images} images are asked for, the {split} set has {total}.')
    places = np.linspace(0, total - 1, num_images).round().astype(int)
    for place in places:
        with torch.no_grad():
            data = model.data_preprocessor(pseudo_collate([dataset[int(place)]]), False)
        yield Sample(data['inputs'], data['data_samples'][0])


def keep_samples(samples: Iterator[Sample], total: Optional[int] = None) -> List[Sample]:
    """Read images into memory, with progress."""
    return list(track(samples, 'reading images', total))
