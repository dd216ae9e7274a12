"""Decoding of the head's outputs, of all priors or of the best ones only.

The heads' own ``decode`` is what the exported numbers are checked against. The
graph computes the same in another order: it joins the levels first and, where
suppression follows, decodes only the priors that take part in it.
"""
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Sequence, overload

import torch
from torch import Tensor, nn

from mmyolonas.export.graph.onnx_ops import TopK
from mmyolonas.models.utils import decode_keypoints, distances_to_boxes, grid_priors

if TYPE_CHECKING:
    from mmyolonas.models.dense_heads import YOLONASHead


class Candidates(NamedTuple):
    """Decoded priors.

    boxes (B, L, 4) xyxy in pixels, scores (B, L, C); for pose keypoints
    (B, L, K, 2) in pixels and keypoint_scores (B, L, K).
    """
    boxes: Tensor
    scores: Tensor
    keypoints: Optional[Tensor] = None
    keypoint_scores: Optional[Tensor] = None


def join_levels(maps: Sequence[Tensor]) -> Tensor:
    """Join per-level maps (B, C, H, W) into (B, C, L)."""
    return torch.cat([x.flatten(2) for x in maps], dim=2)


def gather_priors(x: Tensor, index: Tensor) -> Tensor:
    """Pick priors ``index`` (B, N) from ``x`` (B, C, L); returns (B, C, N)."""
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))


class Expectation(nn.Module):
    """Expectation of the four side distributions of every prior.

    ``sum(k * exp(z_k)) / sum(exp(z_k))`` with numerator and denominator from
    one matrix product; in ONNX Runtime this takes two thirds of the time of
    softmax, product and sum.

    Args:
        reg_max (int): Largest distance in units of the stride.
    """

    weights: Tensor

    def __init__(self, reg_max: int) -> None:
        super().__init__()
        self.bins = reg_max + 1
        support = torch.arange(self.bins, dtype=torch.float32)
        self.register_buffer('weights', torch.stack([support, torch.ones_like(support)]))

    def forward(self, dists: Tensor) -> Tensor:
        """Map logits (B, 4 * bins, L) to distances (B, 4, L) in units of the stride."""
        dists = dists.unflatten(1, (4, self.bins))
        exp = (dists - dists.amax(dim=2, keepdim=True)).exp()
        sums = self.weights.matmul(exp)  # (B, 4, 2, L)
        return sums[:, :, 0] / sums[:, :, 1]


class DetectionCandidates(nn.Module):
    """Decoding of :class:`mmyolonas.models.YOLONASHead`.

    Args:
        head (YOLONASHead): The head; read for strides and bins, not kept.
    """

    def __init__(self, head: 'YOLONASHead') -> None:
        super().__init__()
        self.strides = tuple(head.strides)
        self.expectation = Expectation(head.reg_max)

    def forward(self, maps: List[Sequence[Tensor]], top_k: Optional[int] = None) -> Candidates:
        """Decode.

        Args:
            maps (list): ``cls_scores`` and ``bbox_dists``, each per level.
            top_k (int, optional): Decode only so many priors, those with the
                best class score.

        Returns:
            Candidates: With ``top_k`` sorted by best score.
        """
        cls_scores, bbox_dists = maps
        index = best_priors(join_levels(cls_scores), top_k)
        boxes = self.decode_boxes(cls_scores, bbox_dists, index)
        return Candidates(boxes, pick(cls_scores, index).transpose(1, 2).sigmoid())

    def decode_boxes(self, cls_scores: Sequence[Tensor], bbox_dists: Sequence[Tensor],
                     index: Optional[Tensor]) -> Tensor:
        """Return boxes (B, N, 4) of the priors ``index``, or of all."""
        priors, strides = self.priors(cls_scores, index)
        distances = self.expectation(pick(bbox_dists, index)).transpose(1, 2) * strides
        return distances_to_boxes(priors, distances)

    def priors(self, maps: Sequence[Tensor], index: Optional[Tensor]) -> tuple:
        """Return centres (1 or B, N, 2) and strides (1 or B, N, 1) of the picked priors."""
        priors, strides = grid_priors(
            [(x.shape[-2], x.shape[-1]) for x in maps], self.strides, maps[0].device)
        if index is None:
            return priors.unsqueeze(0), strides.unsqueeze(0)
        return priors[index], strides[index]


@overload
def best_priors(scores: Tensor, top_k: int) -> Tensor: ...


@overload
def best_priors(scores: Tensor, top_k: Optional[int]) -> Optional[Tensor]: ...


def best_priors(scores: Tensor, top_k: Optional[int]) -> Optional[Tensor]:
    """Return the priors (B, N) with the best class logit of (B, C, L); None for all."""
    if top_k is None:
        return None
    best = scores.amax(dim=1) if scores.shape[1] > 1 else scores.squeeze(1)
    return TopK.apply(best, top_k)[1]


def pick(maps: Sequence[Tensor], index: Optional[Tensor]) -> Tensor:
    """Join levels and pick priors; returns (B, C, N)."""
    joined = join_levels(maps)
    return joined if index is None else gather_priors(joined, index)


class PoseCandidates(DetectionCandidates):
    """Decoding of the pose head; one class, key points beside the boxes."""

    def forward(self, maps: List[Sequence[Tensor]], top_k: Optional[int] = None) -> Candidates:
        """Decode ``cls_scores``, ``bbox_dists``, ``kpt_offsets`` and ``kpt_scores``."""
        cls_scores, bbox_dists, offsets, kpt_scores = maps
        index = best_priors(join_levels(cls_scores), top_k)
        boxes = self.decode_boxes(cls_scores, bbox_dists, index)
        scores = pick(cls_scores, index).transpose(1, 2).sigmoid()
        priors, strides = self.priors(cls_scores, index)
        keypoints = decode_keypoints(priors, pick(offsets, index).transpose(1, 2), strides)
        return Candidates(boxes, scores, keypoints,
                          pick(kpt_scores, index).transpose(1, 2).sigmoid())
