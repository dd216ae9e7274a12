"""Weights of objects that travel through a pipeline within their labels: pure functions.

A transform that drops, joins or repeats objects (mosaic, mixup, crop, affine, filters)
does so with three arrays: boxes, labels and ignore flags. Host transforms know no
other, so a fourth array would fall out of step with them. The weight therefore rides
in the upper half of the 64-bit label between loading and packing: it is kept by
whatever keeps labels, and a label without a weight is one of weight 1.
"""
from typing import Tuple

import numpy as np

_SHIFT = 32
_STEPS = 1 << 20


def pack_weights(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Put weights into labels.

    Args:
        labels (ndarray): (N,) classes, below 2 ** 31.
        weights (ndarray): (N,) within [0, 1]; kept to one part in a million.

    Returns:
        ndarray: (N,) int64; equal to ``labels`` where the weight is 1.

    Raises:
        ValueError: A weight is outside [0, 1].
    """
    weights = np.asarray(weights, np.float64)
    if not ((weights >= 0) & (weights <= 1)).all():
        raise ValueError(f'weights of objects must lie within 0 and 1, got {weights}')
    missing = np.round((1 - weights) * _STEPS).astype(np.int64)
    return np.asarray(labels, np.int64) | missing << _SHIFT


def unpack_weights(labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the labels, (N,) int64, and the weights, (N,) float32, of packed labels."""
    labels = np.asarray(labels, np.int64)
    missing = labels >> _SHIFT
    return labels - (missing << _SHIFT), (1 - missing / _STEPS).astype(np.float32)
