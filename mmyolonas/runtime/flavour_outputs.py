"""Outputs of every flavour in the form of two of them, ``onnx`` and ``none``; numpy alone."""
from typing import Dict, Sequence, Tuple

import numpy as np

from mmyolonas.export.metadata import ModelMetadata

Outputs = Dict[str, np.ndarray]


def standard_outputs(outputs: Outputs, metadata: ModelMetadata) -> Tuple[Outputs, str]:
    """Return a file's outputs as a common flavour has them.

    Args:
        outputs (dict[str, ndarray]): Of the file, by name.
        metadata (ModelMetadata): The file's description.

    Returns:
        tuple[dict[str, ndarray], str]: Outputs, and whose they are: ``'onnx'``, ``'none'``
        or ``'efficient_nms'``.
    """
    name = metadata.postprocess.nms
    if name == 'flat':
        return _from_flat(outputs['flat_predictions'], metadata), 'onnx'
    if name == 'deepstream':
        return _from_best_class(outputs['output'], len(metadata.class_names)), 'none'
    if name == 'ultralytics':
        return _from_centres(outputs['output0'], metadata.task == 'pose'), 'none'
    if name == 'maps':
        return decode_maps(outputs, metadata.strides), 'none'
    return outputs, name


def _from_flat(rows: np.ndarray, metadata: ModelMetadata) -> Outputs:
    rows = rows.reshape(-1, metadata.postprocess.max_detections, rows.shape[-1])
    dets = rows[..., 1:6].copy()
    if metadata.task == 'pose':
        points = rows[..., 6:]
        return dict(dets=dets, keypoints=points.reshape(*points.shape[:2], -1, 3))
    dets[rows[..., 6] < 0] = 0
    return dict(dets=dets, labels=rows[..., 6].astype(np.int64))


def _from_best_class(rows: np.ndarray, num_classes: int) -> Outputs:
    scores = np.zeros((*rows.shape[:2], num_classes), np.float32)
    np.put_along_axis(scores, rows[..., 5:6].astype(np.int64), rows[..., 4:5], axis=2)
    return dict(boxes=rows[..., :4], scores=scores)


def _from_centres(channels: np.ndarray, is_pose: bool) -> Outputs:
    rows = channels.transpose(0, 2, 1)
    centres, half = rows[..., :2], rows[..., 2:4] / 2
    result = dict(boxes=np.concatenate([centres - half, centres + half], axis=2))
    if not is_pose:
        return dict(result, scores=rows[..., 4:])
    points = rows[..., 5:].reshape(*rows.shape[:2], -1, 3)
    return dict(result, scores=rows[..., 4:5], keypoints=points[..., :2],
                keypoint_scores=points[..., 2])


def decode_maps(maps: Outputs, strides: Sequence[int]) -> Outputs:
    """Decode the head's maps (reference.md 4).

    Args:
        maps (dict[str, ndarray]): ``reg_8`` (B, 4 * (R + 1), H / 8, W / 8) and ``cls_8``
            (B, C, H / 8, W / 8) with logits, for poses also ``offset_8`` (B, 2 * K, ...) and
            ``point_8`` (B, K, ...); the same of the other strides.
        strides (Sequence[int]): Strides.

    Returns:
        dict[str, ndarray]: ``boxes`` (B, L, 4) xyxy in pixels of the input and ``scores``
        (B, L, C), for poses ``keypoints`` (B, L, K, 2) and ``keypoint_scores`` (B, L, K).
    """
    levels = [_decode_level(maps, stride) for stride in strides]
    return {name: np.concatenate([level[name] for level in levels], axis=1)
            for name in levels[0]}


def _decode_level(maps: Outputs, stride: int) -> Outputs:
    reg, logits = maps[f'reg_{stride}'], maps[f'cls_{stride}']
    batch, channels, height, width = reg.shape
    bins = reg.reshape(batch, 4, channels // 4, height * width)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    steps = np.arange(channels // 4, dtype=np.float32)[:, None]
    distances = (weights * steps).sum(2) / weights.sum(2) * stride  # (B, 4, L)
    y, x = np.divmod(np.arange(height * width), width)
    corner = np.stack([x, y]).astype(np.float32) * stride
    centre = corner + stride / 2
    boxes = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], axis=1)
    result = dict(boxes=boxes.transpose(0, 2, 1).astype(np.float32),
                  scores=_rows(_sigmoid(logits)))
    if f'offset_{stride}' in maps:
        offsets = _rows(maps[f'offset_{stride}'])
        points = offsets.reshape(*offsets.shape[:2], -1, 2) * stride + corner.T[:, None]
        result.update(keypoints=points.astype(np.float32),
                      keypoint_scores=_rows(_sigmoid(maps[f'point_{stride}'])))
    return result


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # by the hyperbolic tangent, which does not overflow
    return (0.5 * (np.tanh(0.5 * logits.astype(np.float32)) + 1)).astype(np.float32)
