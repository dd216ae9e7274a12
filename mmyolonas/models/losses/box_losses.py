"""Box losses of the positives, shared by the detection and the pose head."""
from typing import Callable, List, Tuple

from torch import Tensor

from mmyolonas.models.utils import boxes_to_distances, distances_to_boxes, gather_levels, integral


def positive_box_losses(loss_bbox: Callable, loss_dfl: Callable, bbox_preds: List[Tensor],
                        bbox_dists: List[Tensor], priors: Tensor, strides: Tensor, assigned,
                        avg_factor: Tensor, reg_max: int) -> Tuple[Tensor, Tensor]:
    """Return overlap and distribution loss of the positive priors.

    Args:
        loss_bbox (Callable): ``(boxes, target, weight=, avg_factor=) -> Tensor``.
        loss_dfl (Callable): ``(bbox_dists, distances, weight, avg_factor) -> Tensor``.
        bbox_preds (list[Tensor]): Distances (B, 4, H, W) in pixels per level. If
            they carry no gradient, those of the positives are computed again
            from ``bbox_dists``.
        bbox_dists (list[Tensor]): Logits (B, 4 * (reg_max + 1), H, W) per level.
        priors (Tensor): Centres of shape (L, 2) in pixels.
        strides (Tensor): Shape (L, 1) in pixels.
        assigned (AssignResult): The assignment.
        avg_factor (Tensor): Scalar divisor.
        reg_max (int): Largest distance in units of the stride.

    Returns:
        tuple[Tensor, Tensor]: Scalars; without positives, zeros that keep every
        parameter in the graph, as DDP demands.
    """
    positives = assigned.pos_mask.nonzero(as_tuple=True)
    if len(positives[0]) == 0:
        zero = sum(x.sum() for x in (*bbox_dists, *bbox_preds)) * 0
        return zero, zero
    dists = gather_levels(bbox_dists, positives).float()  # (N, 4 * (reg_max + 1))
    stride, prior = strides[positives[1]], priors[positives[1]]
    if bbox_preds[0].requires_grad:
        distances = gather_levels(bbox_preds, positives).float()
    else:
        distances = integral(dists, reg_max, dim=-1) * stride
    target, weight = assigned.bboxes[positives], assigned.assigned_scores[positives]
    overlap = loss_bbox(
        distances_to_boxes(prior, distances), target, weight=weight, avg_factor=avg_factor)
    distribution = loss_dfl(dists, boxes_to_distances(prior, target) / stride, weight, avg_factor)
    return overlap, distribution
