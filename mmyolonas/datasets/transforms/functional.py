"""Geometry shared by the detection transforms: pure numpy functions."""
from typing import Dict, Optional, Tuple

import cv2
import numpy as np
import torch
from mmdet.structures.bbox import HorizontalBoxes


def fit_size(height: int, width: int, scale: Tuple[int, int]) -> Tuple[int, int, float]:
    """Return the size of an image that is fitted into ``scale``.

    Args:
        height (int): Height in pixels.
        width (int): Width in pixels.
        scale (tuple[int, int]): Largest (width, height) in pixels.

    Returns:
        tuple[int, int, float]: Height and width, cut to whole pixels as the
        published recipe does (reference.md 10.1), and the ratio.
    """
    ratio = min(scale[0] / width, scale[1] / height)
    # 1e-6: a product that is a whole number must not lose a pixel to rounding.
    new_height = max(int(height * ratio + 1e-6), 1)
    new_width = max(int(width * ratio + 1e-6), 1)
    return new_height, new_width, ratio


def boxes_to_numpy(results: Dict) -> np.ndarray:
    """Return ``results['gt_bboxes']`` as (N, 4) float32 xyxy pixels, without a copy."""
    boxes = results['gt_bboxes']
    if isinstance(boxes, np.ndarray):
        return boxes.reshape(-1, 4)
    if not isinstance(boxes, HorizontalBoxes):
        raise TypeError('the detection transforms work on horizontal boxes, got '
                        f'{type(boxes).__name__}')
    return boxes.tensor.numpy()


def boxes_like(boxes: np.ndarray, original) -> object:
    """Wrap ``boxes`` (N, 4) the way ``original`` was wrapped (array or HorizontalBoxes)."""
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    if isinstance(original, np.ndarray):
        return boxes
    return HorizontalBoxes(torch.from_numpy(boxes), clone=False)


def select_instances(results: Dict, keep: np.ndarray) -> None:
    """Keep the labels and flags of some instances, in place; boxes are the caller's.

    Args:
        results (dict): The result dictionary.
        keep (ndarray): Boolean mask of shape (N,).
    """
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        if key in results:
            results[key] = results[key][keep]


def affine_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the axis-aligned hulls of transformed boxes.

    Args:
        boxes (ndarray): (N, 4) xyxy in pixels.
        matrix (ndarray): (2, 3), maps continuous source to target points.

    Returns:
        ndarray: (N, 4) float32 xyxy in target pixels, not clipped.
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = corners @ matrix[:, :2].T.astype(np.float64) + matrix[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)


def clip_boxes(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Return (N, 4) xyxy boxes clipped to [0, width] x [0, height]."""
    limit = np.array([width, height, width, height], dtype=np.float32)
    return np.minimum(np.maximum(boxes, 0), limit)


def box_candidates(before: np.ndarray,
                   after: np.ndarray,
                   min_size: float,
                   min_area_ratio: float,
                   max_aspect_ratio: float) -> np.ndarray:
    """Tell which boxes are still worth learning after a transform.

    Args:
        before (ndarray): (N, 4) xyxy before the transform.
        after (ndarray): (N, 4) xyxy after it, clipped to the image.
        min_size (float): Width and height must be larger (pixels).
        min_area_ratio (float): ``area(after) / area(before)`` must be larger.
        max_aspect_ratio (float): The longer side must be shorter than this
            many times the other.

    Returns:
        ndarray: Boolean mask of shape (N,).
    """
    eps = 1e-16
    width, height = (after[:, 2:] - after[:, :2]).T
    area_before = np.prod(np.maximum(before[:, 2:] - before[:, :2], 0), axis=1)
    aspect = np.maximum(width / (height + eps), height / (width + eps))
    return ((width > min_size) & (height > min_size)
            & (width * height > min_area_ratio * area_before)
            & (aspect < max_aspect_ratio))


def paste_resized(img: np.ndarray, size: Tuple[int, int], offset: Tuple[int, int],
                  canvas: np.ndarray, flip: bool = False) -> None:
    """Resize an image and paste what fits into ``canvas``, in place.

    Args:
        img (ndarray): (h, w, 3) uint8.
        size (tuple[int, int]): Width and height after resizing.
        offset (tuple[int, int]): Where the left top corner goes, (x, y) in
            canvas pixels; may be negative.
        canvas (ndarray): (H, W, 3) uint8.
        flip (bool): Mirror the image before pasting. Defaults to False.
    """
    (width, height), (x, y) = size, offset
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + width, canvas.shape[1]), min(y + height, canvas.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    if (width, height) != img.shape[1::-1]:
        img = cv2.resize(img, (width, height), interpolation=cv2.INTER_LINEAR)
    if flip:
        img = cv2.flip(img, 1)
    canvas[y0:y1, x0:x1] = img[y0 - y:y1 - y, x0 - x:x1 - x]


def filled(height: int, width: int, value: int, dtype: Optional[type] = np.uint8) -> np.ndarray:
    """Return an image (height, width, 3) of one grey value."""
    return np.full((height, width, 3), value, dtype=dtype)
