"""Suppression inside the graph."""
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from mmyolonas.export.graph.candidates import Candidates
from mmyolonas.export.graph.onnx_ops import EfficientNMSOp, NonMaxSuppression, ScatterND, TopK
from mmyolonas.export.metadata import Postprocess


class PaddedNMS(nn.Module):
    """Suppression with the standard operator and rows of fixed number.

    The rules are those of the PyTorch model: the best ``pre_top_k`` pairs of
    prior and class whose score exceeds the threshold, one NMS per class (or for
    all classes), the best ``max_detections`` of what is left, by score across
    classes. Rows beyond the count have score 0, box 0 and label -1.

    Classes are kept apart by shifting their boxes, as ``batched_nms`` does, so
    that one pass serves all of them and its output is in order of score.

    Args:
        rules (Postprocess): Thresholds and limits.
    """

    def __init__(self, rules: Postprocess) -> None:
        super().__init__()
        self.rules = rules

    def forward(self, candidates: Candidates,
                image_size: Optional[Tuple[Tensor, Tensor]] = None) -> Tuple[Tensor, ...]:
        """Suppress.

        Args:
            candidates (Candidates): Decoded priors.
            image_size (tuple, optional): Height and width to clip the boxes to.

        Returns:
            tuple[Tensor, ...]: ``dets`` (B, N, 5): xyxy and score, ``labels``
            (B, N) int64; for pose instead ``keypoints`` (B, N, K, 3): x, y and
            score as the second.
        """
        boxes, scores = candidates.boxes, candidates.scores
        scores, prior, label = self.best_pairs(scores)
        boxes = boxes.gather(1, prior.unsqueeze(2).expand(-1, -1, 4)) if prior is not None \
            else boxes
        if image_size is not None:
            boxes = clip_boxes(boxes, *image_size)
        kept_scores, kept = self.suppress(boxes, scores * has_area(boxes), label)
        valid = kept_scores.unsqueeze(2) > 0
        kept_boxes = boxes.gather(1, kept.unsqueeze(2).expand(-1, -1, 4)) * valid
        dets = torch.cat([kept_boxes, kept_scores.unsqueeze(2)], dim=2)
        if candidates.keypoints is None:
            labels = torch.zeros_like(kept) if label is None else label.gather(1, kept)
            return dets, torch.where(valid.squeeze(2), labels, torch.full_like(labels, -1))
        source = kept if prior is None else prior.gather(1, kept)
        return dets, self.gather_keypoints(candidates, source) * valid.unsqueeze(3)

    def best_pairs(self, scores: Tensor) -> Tuple[Tensor, Optional[Tensor], Optional[Tensor]]:
        """Return the best pairs: score (B, N), row of ``scores``, class.

        Row and class are None if there is one class: the rows are in order then.
        """
        num_classes = scores.shape[2]
        if num_classes == 1:
            return scores.squeeze(2), None, None
        if not self.rules.multi_label:
            best, label = scores.max(dim=2)
            return best, None, label
        best, pair = TopK.apply(scores.flatten(1), self.rules.pre_top_k)
        row = torch.div(pair, num_classes, rounding_mode='trunc')
        return best, row, pair - row * num_classes

    def suppress(self, boxes: Tensor, scores: Tensor,
                 label: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Return score and row of what is left, padded with score 0."""
        rules = self.rules
        if label is not None and not rules.class_agnostic:
            step = boxes.max() + 1
            boxes = boxes + (label.to(boxes.dtype) * step).unsqueeze(2)
        selected = NonMaxSuppression.apply(
            boxes, scores.unsqueeze(1), rules.max_detections, rules.iou_threshold,
            rules.score_threshold)
        selected = selected[:, 0::2]  # (n, 2): image, row
        kept = scores.flatten().index_select(
            0, selected[:, 0] * scores.shape[1] + selected[:, 1])
        survivors = ScatterND.apply(torch.zeros_like(scores), selected, kept)
        return TopK.apply(survivors, rules.max_detections)

    @staticmethod
    def gather_keypoints(candidates: Candidates, row: Tensor) -> Tensor:
        """Return (B, N, K, 3) of the given rows."""
        assert candidates.keypoints is not None and candidates.keypoint_scores is not None
        points = torch.cat(
            [candidates.keypoints, candidates.keypoint_scores.unsqueeze(3)], dim=3)
        num_points = points.shape[2]
        flat = points.flatten(2)
        picked = flat.gather(1, row.unsqueeze(2).expand(-1, -1, num_points * 3))
        return picked.unflatten(2, (num_points, 3))


class EfficientNMS(nn.Module):
    """Suppression with TensorRT's plugin; detection only.

    Args:
        rules (Postprocess): Thresholds and limits; ``pre_top_k`` is not used.
    """

    def __init__(self, rules: Postprocess) -> None:
        super().__init__()
        self.rules = rules

    def forward(self, candidates: Candidates,
                image_size: Optional[tuple] = None) -> Tuple[Tensor, ...]:
        """Return ``num_dets`` (B, 1), ``boxes`` (B, N, 4), ``scores``, ``labels`` (B, N)."""
        rules = self.rules
        return EfficientNMSOp.apply(candidates.boxes, candidates.scores, rules.max_detections,
                                    rules.iou_threshold, rules.score_threshold,
                                    rules.class_agnostic)


def has_area(boxes: Tensor) -> Tensor:
    """Return 1 for xyxy boxes (B, N, 4) with an area and 0 for others, of shape (B, N)."""
    return ((boxes[..., 2:] - boxes[..., :2]).amin(dim=2) > 0).to(boxes.dtype)


def clip_boxes(boxes: Tensor, height, width) -> Tensor:
    """Clip xyxy boxes (B, N, 4) to an image.

    Args:
        boxes (Tensor): Boxes.
        height (int | Tensor): Height; a tensor where the shape is dynamic.
        width (int | Tensor): Width.
    """
    if isinstance(height, Tensor):
        limit = torch.stack([width, height, width, height]).to(boxes)
    else:
        limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)
