"""Data sets, transforms and generated sample data."""
from mmyolonas.utils.data_error import DataError

from . import transforms  # noqa: F401
from .checked_coco_dataset import CheckedCocoDataset
from .formats.coco_checks import coco_classes
from .pseudo_label_dataset import PseudoLabelDataset

__all__ = ['CheckedCocoDataset', 'DataError', 'PseudoLabelDataset', 'coco_classes']
