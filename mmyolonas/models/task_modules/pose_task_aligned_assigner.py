"""Task-aligned assignment that also looks at the poses."""
from dataclasses import dataclass

import torch
from torch import Tensor

from mmyolonas.models.utils import points_in_boxes
from mmyolonas.models.utils.keypoints import oks
from mmyolonas.registry import TASK_UTILS

from .batch_task_aligned_assigner import AssignResult, BatchTaskAlignedAssigner
from .pose_targets import PoseTargets


@dataclass
class PoseAssignResult(AssignResult):
    """An assignment whose positives are single objects.

    Attributes:
        crowd_mask (Tensor): Boolean of shape (B, L), True for priors assigned
            to a group. They are not in ``pos_mask`` and their score is 0.
    """
    crowd_mask: Tensor


@TASK_UTILS.register_module()
class PoseTaskAlignedAssigner(BatchTaskAlignedAssigner):
    """The detection assigner with OKS as a further factor of every IoU.

    Groups (COCO's crowd) take part in the assignment, then their priors lose
    their score (reference.md 6.3).

    Args:
        topk (int): Priors an object may claim. Defaults to 13.
        alpha (float): Exponent of the score. Defaults to 1.
        beta (float): Exponent of IoU times OKS. Defaults to 6.
        eps (float): Guards the divisions. Defaults to 1e-9.
        use_oks (bool): Whether the poses count. Defaults to True.
        area_factor (float): Object area over box area. Defaults to 0.53.
    """

    def __init__(self, topk: int = 13, alpha: float = 1.0, beta: float = 6.0,
                 eps: float = 1e-9, use_oks: bool = True, area_factor: float = 0.53) -> None:
        super().__init__(topk, alpha, beta, eps)
        self.use_oks = use_oks
        self.area_factor = area_factor

    @torch.no_grad()
    def assign(self, pred_scores: Tensor, pred_bboxes: Tensor, pred_keypoints: Tensor,
               priors: Tensor, targets: PoseTargets, sigmas: Tensor) -> PoseAssignResult:
        """Assign the priors of a batch.

        Args:
            pred_scores (Tensor): Scores of shape (B, L, 1) within [0, 1].
            pred_bboxes (Tensor): Boxes of shape (B, L, 4), xyxy in pixels.
            pred_keypoints (Tensor): Key points of shape (B, L, K, 2) in pixels.
            priors (Tensor): Centres of shape (L, 2) in pixels.
            targets (PoseTargets): Ground truth of M objects at most.
            sigmas (Tensor): Shape (K,).

        Returns:
            PoseAssignResult: The assignment.
        """
        similarity = None
        if self.use_oks and targets.mask.numel():
            similarity = self._similarity(pred_bboxes, pred_keypoints, priors, targets, sigmas)
        result = super().assign(pred_scores, pred_bboxes, priors, targets, similarity)
        if targets.mask.numel():
            crowd_mask = targets.crowds.gather(1, result.gt_inds) & result.pos_mask
            result.pos_mask &= ~crowd_mask
            result.assigned_scores.masked_fill_(crowd_mask, 0)
        else:
            crowd_mask = torch.zeros_like(result.pos_mask)
        return PoseAssignResult(**vars(result), crowd_mask=crowd_mask)

    def _similarity(self, pred_bboxes: Tensor, pred_keypoints: Tensor, priors: Tensor,
                    targets: PoseTargets, sigmas: Tensor) -> Tensor:
        """Return OKS of shape (B, M, L), left 0 wherever it cannot matter.

        A prior inside one object can be claimed by that one only, a prior inside
        several goes to whichever overlaps it most, and without overlap the
        product is 0 anyway. This keeps the (pairs, K, 2) intermediates a small
        part of (B, M, L, K, 2).
        """
        inside = points_in_boxes(priors, targets.bboxes, self.eps) & targets.mask[..., None]
        contested = inside.sum(dim=1, keepdim=True) > 1
        low = torch.maximum(targets.bboxes[:, :, None, :2], pred_bboxes[:, None, :, :2])
        high = torch.minimum(targets.bboxes[:, :, None, 2:], pred_bboxes[:, None, :, 2:])
        pairs = (inside | contested & targets.mask[..., None]) & (high > low).all(dim=-1)
        image, obj, prior = pairs.nonzero(as_tuple=True)
        sides = targets.bboxes[..., 2:] - targets.bboxes[..., :2]
        areas = sides.prod(-1) * self.area_factor
        values = oks(pred_keypoints[image, prior].float(), targets.keypoints[image, obj],
                     targets.visible[image, obj], areas[image, obj], sigmas)
        similarity = values.new_zeros(pairs.shape)
        similarity[image, obj, prior] = values
        return similarity
