"""The ends of the graph as torch modules: from decoded priors to what a reader wants."""
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmyolonas.export.graph.candidates import Candidates
from mmyolonas.export.graph.nms import EfficientNMS, PaddedNMS
from mmyolonas.export.metadata import Postprocess


class Plain(nn.Module):
    """All priors as they are."""

    def forward(self, candidates: Candidates, image_size: Optional[tuple] = None) -> tuple:
        """Return boxes, scores and what there is of key points."""
        return tuple(x for x in candidates if x is not None)


class Flat(nn.Module):
    """Rows of all images below each other, as SuperGradients' flat format has them.

    Args:
        rules (Postprocess): Thresholds and limits.
    """

    def __init__(self, rules: Postprocess) -> None:
        super().__init__()
        self.nms = PaddedNMS(rules)

    def forward(self, candidates: Candidates,
                image_size: Optional[tuple] = None) -> Tuple[Tensor, ...]:
        """Return ``flat_predictions`` (B * N, 7), of poses (B * N, 6 + 3 * K)."""
        dets, rest = self.nms(candidates, image_size)
        image = torch.arange(dets.shape[0], device=dets.device).to(dets.dtype)
        image = image.view(-1, 1, 1).expand(-1, dets.shape[1], 1)
        rest = rest.flatten(2) if rest.dim() == 4 else rest.unsqueeze(2).to(dets.dtype)
        return (torch.cat([image, dets, rest], dim=2).flatten(0, 1), )


class BestClass(nn.Module):
    """Each prior with its best class, suppression left to DeepStream."""

    def forward(self, candidates: Candidates,
                image_size: Optional[tuple] = None) -> Tuple[Tensor, ...]:
        """Return ``output`` (B, L, 6)."""
        score, label = candidates.scores.max(dim=2, keepdim=True)
        return (torch.cat([candidates.boxes, score, label.to(score.dtype)], dim=2), )


class CentresAndSizes(nn.Module):
    """Channels first, boxes by centre and size."""

    def forward(self, candidates: Candidates,
                image_size: Optional[tuple] = None) -> Tuple[Tensor, ...]:
        """Return ``output0`` (B, 4 + C, L), of poses (B, 5 + 3 * K, L)."""
        first, second = candidates.boxes.split(2, dim=2)
        parts = [(first + second) / 2, second - first, candidates.scores]
        if candidates.keypoints is not None and candidates.keypoint_scores is not None:
            points = torch.cat(
                [candidates.keypoints, candidates.keypoint_scores.unsqueeze(3)], dim=3)
            parts.append(points.flatten(2))
        return (torch.cat(parts, dim=2).transpose(1, 2), )


class SortedMaps(nn.Module):
    """The head's maps, level by level; nothing is decoded."""

    def forward(self, maps: List[Sequence[Tensor]]) -> Tuple[Tensor, ...]:
        """Return distances, classes, for poses offsets and points, of each level in turn."""
        cls_scores, bbox_dists, *rest = maps
        return tuple(x for level in zip(bbox_dists, cls_scores, *rest) for x in level)


def build_tail(rules: Postprocess) -> nn.Module:
    """Return the end of the graph that the rules name.

    Args:
        rules (Postprocess): What the file ends with, thresholds and limits.

    Returns:
        nn.Module: From :class:`Candidates` and the input's size (height, width, None for
        no clipping) to the outputs; of ``'maps'`` from the head's maps.
    """
    with_rules = dict(onnx=PaddedNMS, efficient_nms=EfficientNMS, flat=Flat)
    if rules.nms in with_rules:
        return with_rules[rules.nms](rules)
    return dict(none=Plain, deepstream=BestClass, ultralytics=CentresAndSizes,
                maps=SortedMaps)[rules.nms]()
