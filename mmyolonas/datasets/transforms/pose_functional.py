"""Geometry of pose annotations in mmpose's result dictionaries.

The functions work on the keys that mmpose's COCO-style data sets fill:
``bbox`` (N, 4) xyxy, ``keypoints`` (N, K, 2), ``keypoints_visible`` (N, K) or
(N, K, 2), ``area`` (N,), all in pixels of ``img``. An image without
annotation has none of the keys, and every function accepts that.
"""
from typing import Dict, Tuple

import numpy as np

#: Keys holding one row for each instance.
INSTANCE_KEYS = ('bbox', 'bbox_score', 'keypoints', 'keypoints_visible',
                 'area', 'category_id', 'iscrowd', 'num_keypoints')


def visibility(keypoints_visible: np.ndarray) -> np.ndarray:
    """Return the visibility of every key point.

    Args:
        keypoints_visible (ndarray): (N, K), or mmpose's (N, K, 2) with the
            loss weights in the second channel.

    Returns:
        ndarray: A view of shape (N, K).
    """
    if keypoints_visible.ndim == 3:
        return keypoints_visible[..., 0]
    return keypoints_visible


def select_instances(results: Dict, keep: np.ndarray) -> Dict:
    """Keep some instances of ``results``, in place.

    Args:
        results (dict): The result dictionary.
        keep (ndarray): Boolean mask of shape (N,).

    Returns:
        dict: ``results``.
    """
    for key in INSTANCE_KEYS:
        if results.get(key) is not None:
            value = results[key]
            if isinstance(value, np.ndarray):
                results[key] = value[keep]
            else:
                results[key] = [v for v, k in zip(value, keep) if k]
    return results


def scale_and_shift(results: Dict, scale: float,
                    shift: Tuple[float, float]) -> Dict:
    """Map the annotations by ``x * scale + shift``, in place.

    Args:
        results (dict): The result dictionary.
        scale (float): Factor of both axes; areas change by its square.
        shift (tuple[float, float]): (x, y) in pixels after scaling.

    Returns:
        dict: ``results``.
    """
    shift = np.asarray(shift, np.float32)
    if results.get('bbox') is not None:
        results['bbox'] = results['bbox'] * np.float32(scale) + np.tile(
            shift, 2)
    if results.get('keypoints') is not None:
        results['keypoints'] = results['keypoints'] * np.float32(scale) + shift
    if results.get('area') is not None:
        results['area'] = results['area'] * np.float32(scale**2)
    return results


def transform_boxes(bboxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the axis-aligned hulls of boxes under an affine map.

    Args:
        bboxes (ndarray): (N, 4) xyxy in pixels.
        matrix (ndarray): (2, 3).

    Returns:
        ndarray: (N, 4) float32 xyxy.
    """
    corners = bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)],
                          axis=1).astype(np.float32)


def sanitize(results: Dict, height: int, width: int) -> Dict:
    """Fit the annotations to the image, in place.

    Key points outside the image become invisible, boxes are clamped to it and
    areas shrink by the share of the box that was lost
    (reference.md 10.3).

    Args:
        results (dict): The result dictionary.
        height (int): Height of the image in pixels.
        width (int): Width of the image in pixels.

    Returns:
        dict: ``results``.
    """
    if results.get('keypoints') is not None:
        x, y = results['keypoints'][..., 0], results['keypoints'][..., 1]
        outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
        visible = results['keypoints_visible'].copy()
        visibility(visible)[outside] = 0
        results['keypoints_visible'] = visible
    if results.get('bbox') is not None:
        before = results['bbox']
        after = before.copy()
        after[:, 0::2] = before[:, 0::2].clip(0, width)
        after[:, 1::2] = before[:, 1::2].clip(0, height)
        results['bbox'] = after
        if results.get('area') is not None:
            size = np.prod(before[:, 2:] - before[:, :2], axis=1)
            ratio = np.prod(after[:, 2:] - after[:, :2], axis=1) / np.maximum(
                size, 1e-9)
            results['area'] = (results['area'] * ratio).astype(np.float32)
    return results
