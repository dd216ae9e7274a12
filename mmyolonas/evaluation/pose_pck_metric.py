"""Percentage of correct key points for one-stage models."""
from typing import Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from mmyolonas.registry import METRICS
from mmyolonas.utils.boxes import pairwise_iou


@METRICS.register_module()
class PosePCKMetric(BaseMetric):
    """Share of key points found within a fraction of the box diagonal.

    A visible key point of the ground truth counts as found if the pose that was
    matched to its object lies no farther from it than ``thr`` times the
    diagonal of the object's box. Poses are matched in descending order of
    score, each to the free object whose box it overlaps most. The key points of
    an object that no pose was matched to count as missed, unlike in mmpose's
    ``PCKAccuracy``, which expects exactly one pose for one object.

    Args:
        thr (float): Fraction of the diagonal. Defaults to 0.1.
        kwargs: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'pck'

    def __init__(self, thr: float = 0.1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.thr = thr

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Match the poses of a batch with the objects.

        Args:
            data_batch (Sequence[dict]): Not used.
            data_samples (Sequence[dict]): With ``raw_ann_info`` (the COCO
                annotations of the image, so that coordinates are the original
                image's) and ``pred_instances`` with ``keypoints`` (N, K, 2),
                ``bboxes`` (N, 4) xyxy and ``bbox_scores`` (N,).
        """
        for sample in data_samples:
            objects = [annotation for annotation in (sample.get('raw_ann_info') or [])
                       if not annotation.get('iscrowd', 0)]
            if not objects:
                continue
            poses = sample['pred_instances']
            order = np.argsort(-np.asarray(poses['bbox_scores']), kind='stable')
            truth = np.array([annotation['keypoints'] for annotation in objects], float)
            truth = truth.reshape(len(objects), -1, 3)
            boxes = np.array([annotation['bbox'] for annotation in objects], float)
            diagonal = np.hypot(boxes[:, 2], boxes[:, 3])
            boxes[:, 2:] += boxes[:, :2]
            match = match_by_overlap(np.asarray(poses['bboxes'], float)[order], boxes)
            distance = np.full(truth.shape[:2], np.inf)
            found = match >= 0
            points = np.asarray(poses['keypoints'], float)[order]
            distance[found] = np.linalg.norm(
                points[match[found]] - truth[found, :, :2], axis=-1)
            correct = distance <= self.thr * diagonal[:, None]
            visible = truth[..., 2] > 0
            self.results.append(((correct & visible).sum(0), visible.sum(0)))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Return ``PCK@thr`` over all key points and for each of them."""
        name = f'PCK@{self.thr:g}'
        if not results:
            return {name: 0.0}
        correct, visible = (np.sum(counts, axis=0) for counts in zip(*results))
        scores = {name: float(correct.sum() / max(visible.sum(), 1))}
        names = (self.dataset_meta or {}).get('keypoint_id2name', {})
        for index, share in enumerate(correct / np.maximum(visible, 1)):
            scores[f'{name} {names.get(index, index)}'] = float(share)
        return scores


def match_by_overlap(poses: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Match boxes greedily: each pose takes the free object it overlaps most.

    Args:
        poses (ndarray): (N, 4) xyxy in descending order of score.
        objects (ndarray): (M, 4) xyxy.

    Returns:
        ndarray: For each object the index of its pose, -1 for none; shape (M,).
    """
    match = np.full(len(objects), -1)
    if len(poses) == 0:
        return match
    overlap = pairwise_iou(poses, objects)
    for index, row in enumerate(overlap):
        best = int(row.argmax())
        if row[best] > 0:
            match[best] = index
            overlap[:, best] = -1
    return match
