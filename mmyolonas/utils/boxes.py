"""Boxes in numpy, for what runs without torch."""
from typing import Optional

import numpy as np


def pairwise_iou(first: np.ndarray, second: np.ndarray,
                 crowd: Optional[np.ndarray] = None) -> np.ndarray:
    """Return the (N, M) overlap of (N, 4) and (M, 4) xyxy boxes as COCO defines it.

    Args:
        first, second (ndarray): Boxes.
        crowd (ndarray, optional): (M,) bool; for a crowd the shared area is
            divided by that of the first box alone.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    own, other = (np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)
                  for boxes in (first, second))
    union = own[:, None] + other[None] - shared
    if crowd is not None:
        union = np.where(crowd[None], own[:, None], union)
    return shared / np.maximum(union, 1e-9)
