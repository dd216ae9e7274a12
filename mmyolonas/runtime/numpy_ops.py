"""Image preparation and suppression in numpy, for devices without torch."""
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from mmyolonas.export.metadata import Postprocess, Preprocess

try:  # resizing and reading are faster with it, and equal to mmcv's
    import cv2
except ImportError:  # pragma: no cover - exercised in a process of its own
    cv2: Any = None  # type: ignore[no-redef]


@dataclass
class Geometry:
    """How an image lies in the network's input.

    Args:
        image_size (tuple[int, int]): Width and height of the image.
        scale (tuple[float, float]): Input pixels per image pixel, x and y.
        offset (tuple[int, int]): Left and top padding in input pixels.
        input_size (tuple[int, int]): Width and height of the input.
    """
    image_size: Tuple[int, int]
    scale: Tuple[float, float]
    offset: Tuple[int, int]
    input_size: Tuple[int, int]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) from the input to the image, as float32."""
        offset = np.array(self.offset, np.float32)
        return (points.astype(np.float32) - offset) / np.array(self.scale, np.float32)


def read_image(image: Union[str, os.PathLike, np.ndarray]) -> np.ndarray:
    """Return an image as BGR ``uint8`` of shape (H, W, 3).

    Raises:
        FileNotFoundError: No such file.
        ImportError: A path was given and OpenCV is not installed.
        TypeError: Not ``uint8``.
        UserError: The file is damaged, cut short or not an image.
        ValueError: Not of three channels.
    """
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        if not os.path.isfile(path):
            raise FileNotFoundError(f'no such image: {path}')
        if cv2 is None:
            raise ImportError('reading image files needs OpenCV: pip install '
                              'opencv-python-headless; or pass arrays.')
        from mmyolonas.utils import images
        image = images.read_image(path)
    if not isinstance(image, np.ndarray):
        raise TypeError(f'an image is a path or a numpy array, got {type(image).__name__}.')
    if image.dtype != np.uint8:
        raise TypeError(f'images are uint8 within 0..255, got {image.dtype}.')
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f'images have the shape (height, width, 3), got {image.shape}.')
    return image


def letterbox(image: np.ndarray, how: Preprocess) -> Tuple[np.ndarray, Geometry]:
    """Resize, pad, reorder and normalise an image.

    Args:
        image (ndarray): BGR ``uint8`` of shape (H, W, 3).
        how (Preprocess): The file's pre-processing.

    Returns:
        tuple[ndarray, Geometry]: Input of shape (3, H', W'), float32, or
        ``uint8`` in the order BGR if the graph normalises; and the way back.
    """
    height, width = image.shape[:2]
    new_w, new_h, scale = resized_size(width, height, how)
    if how.pad_size and (new_w > how.pad_size[0] or new_h > how.pad_size[1]):
        # upright where the file was made for landscape, or not resized at all
        new_w, new_h, scale = fitted_size(width, height, how.pad_size)
    if (new_w, new_h) != (width, height):
        image = resize(image, new_w, new_h)
    canvas_w, canvas_h = how.pad_size or (
        -(-new_w // how.pad_divisor) * how.pad_divisor,
        -(-new_h // how.pad_divisor) * how.pad_divisor)
    left = top = 0
    if how.pad_position == 'center':
        left, top = (canvas_w - new_w) // 2, (canvas_h - new_h) // 2
    flip = how.channel_order == 'RGB' and not how.in_graph
    out = np.empty((3, canvas_h, canvas_w), np.uint8 if how.in_graph else np.float32)
    for target in range(3):
        source = 2 - target if flip else target
        table = None if how.in_graph else lookup_table(how.mean[target], how.std[target])
        pad = how.pad_value[target if not flip else source]
        _place(out[target], image[..., source], table, pad, left, top)
    return out, Geometry((width, height), scale, (left, top), (canvas_w, canvas_h))


def _place(out: np.ndarray, plane: np.ndarray, table: Optional[np.ndarray], pad: float,
           left: int, top: int) -> None:
    """Write a plane and its border, through the table if there is one."""
    height, width = plane.shape
    border = pad if table is None else table[int(pad)]
    out[:top] = border
    out[top + height:] = border
    inner = out[top:top + height]
    inner[:, :left] = border
    inner[:, left + width:] = border
    if table is None:
        inner[:, left:left + width] = plane
    elif cv2 is not None:
        inner[:, left:left + width] = cv2.LUT(np.ascontiguousarray(plane), table)
    else:
        inner[:, left:left + width] = table[plane]


@lru_cache(maxsize=32)
def lookup_table(mean: float, std: float) -> np.ndarray:
    """Return ``(v - mean) / std`` for v in 0..255, in single precision."""
    return (np.arange(256, dtype=np.float32) - np.float32(mean)) / np.float32(std)


def resized_size(width: int, height: int, how: Preprocess) -> Tuple[int, int, Tuple[float, float]]:
    """Return width and height after resizing, and the scale of the way back."""
    if how.resize_size is None:
        return width, height, (1., 1.)
    target_w, target_h = how.resize_size
    if not how.keep_ratio:
        return target_w, target_h, (target_w / width, target_h / height)
    # long and short side, as mmcv's imrescale and the pose letterbox agree for squares
    if how.inverse == 'ratio':
        ratio = min(target_w / width, target_h / height)
    else:
        ratio = min(max(target_w, target_h) / max(width, height),
                    min(target_w, target_h) / min(width, height))
    new_w, new_h = (max(1, int(side * ratio + 0.5)) for side in (width, height))
    if how.inverse == 'ratio':
        return new_w, new_h, (ratio, ratio)
    return new_w, new_h, (new_w / width, new_h / height)


def fitted_size(width: int, height: int,
                limits: Sequence[int]) -> Tuple[int, int, Tuple[float, float]]:
    """Return width and height that fit into limits at the same ratio, and the way back."""
    ratio = min(limits[0] / width, limits[1] / height)
    new_w, new_h = (min(limit, max(1, int(side * ratio + 0.5)))
                    for side, limit in zip((width, height), limits))
    return new_w, new_h, (new_w / width, new_h / height)


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize bilinearly; without OpenCV within two grey levels of it."""
    if cv2 is not None:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    source = image.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        length = source.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.floor(position).astype(int)
        weight = (position - low).astype(np.float32)
        weight = weight.reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, length - 1)
        source = source.take(low, axis) * (1 - weight) + source.take(high, axis) * weight
    return np.clip(np.rint(source), 0, 255).astype(np.uint8)


def suppress(boxes: np.ndarray, scores: np.ndarray, rules: Postprocess,
             input_size: Optional[Tuple[int, int]] = None,
             score_threshold: Optional[float] = None) -> Tuple[np.ndarray, ...]:
    """Select and suppress the decoded priors of one image.

    The same rules as the suppression inside the graph.

    Args:
        boxes (ndarray): (L, 4) xyxy.
        scores (ndarray): (L, C).
        rules (Postprocess): Thresholds and limits.
        input_size (tuple[int, int], optional): (width, height) of the network's
            input; boxes are clipped to it if the rules say so.
        score_threshold (float, optional): Instead of the rules' own.

    Returns:
        tuple[ndarray, ...]: Boxes (N, 4), scores, labels and priors (N,), best
        first.
    """
    threshold = rules.score_threshold if score_threshold is None else score_threshold
    if rules.multi_label:
        prior, label = np.nonzero(scores > threshold)
    else:
        label = scores.argmax(1)
        prior = np.flatnonzero(scores[np.arange(len(scores)), label] > threshold)
        label = label[prior]
    score = scores[prior, label]
    sound = (boxes[prior, 2:] > boxes[prior, :2]).all(axis=1)
    prior, label, score = prior[sound], label[sound], score[sound]
    order = np.argsort(-score, kind='stable')[:rules.pre_top_k]
    prior, label, score = prior[order], label[order], score[order]
    box = boxes[prior].astype(np.float32)
    if rules.clip and input_size is not None:
        box = np.clip(box, 0, np.array([*input_size, *input_size], np.float32))
    shifted = box
    if not rules.class_agnostic and len(box):
        shifted = box + label[:, None].astype(np.float32) * (box.max() + 1)
    keep = _greedy(shifted, rules.iou_threshold)[:rules.max_detections]
    return box[keep], score[keep], label[keep].astype(np.int64), prior[keep]


def _greedy(boxes: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return the rows to keep of boxes in descending order of score."""
    x1, y1, x2, y2 = boxes.T
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    alive, keep = np.arange(len(boxes)), []
    while len(alive):
        best, rest = alive[0], alive[1:]
        keep.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[rest] - overlap
        alive = rest[overlap <= iou_threshold * union]
    return np.array(keep, np.int64)
