"""Task-aligned assignment of priors to objects, all images at once."""
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from mmyolonas.models.utils import PaddedTargets, pairwise_iou, points_in_boxes
from mmyolonas.registry import TASK_UTILS


@dataclass
class AssignResult:
    """What each of the L priors of B images is trained towards.

    Attributes:
        labels (Tensor): Assigned class of shape (B, L); ``num_classes`` for
            background.
        gt_inds (Tensor): Index of the assigned object in the padded targets, of
            shape (B, L); 0 for background.
        bboxes (Tensor): Assigned xyxy boxes in pixels, of shape (B, L, 4);
            meaningless for background.
        assigned_scores (Tensor): Soft target of the assigned class, of shape
            (B, L), within [0, 1]; 0 for background.
        pos_mask (Tensor): Boolean of shape (B, L), True for foreground.
    """
    labels: Tensor
    gt_inds: Tensor
    bboxes: Tensor
    assigned_scores: Tensor
    pos_mask: Tensor

    def one_hot_scores(self, num_classes: int) -> Tensor:
        """Return the soft targets of all classes, of shape (B, L, num_classes)."""
        scores = self.assigned_scores.new_zeros(*self.labels.shape, num_classes + 1)
        scores.scatter_(2, self.labels[..., None], self.assigned_scores[..., None])
        return scores[..., :num_classes]

    def gather(self, values: Tensor) -> Tensor:
        """Return each prior's value, (B, L), of values (B, M) of the objects; background 0."""
        if values.shape[1] == 0:
            return torch.zeros_like(self.assigned_scores)
        return values.gather(1, self.gt_inds).masked_fill(~self.pos_mask, 0)


@TASK_UTILS.register_module()
class BatchTaskAlignedAssigner:
    """Task-aligned assigner of PP-YOLOE and YOLO-NAS (reference.md 6.1).

    The alignment of object i and prior j is ``score ** alpha * iou ** beta``. Each
    object claims the ``topk`` best aligned priors whose centre it contains; a
    prior claimed more than once goes to the object of the image it overlaps
    most, be it a claimant or not. The soft target is the alignment, scaled per
    object so that its maximum is the object's best IoU.

    It differs from mmdet's ``TaskAlignedAssigner`` in the order of top-k and
    containment, in keeping candidates of zero alignment, and in the rule for
    conflicts; it gives SuperGradients' assignment exactly.

    Args:
        topk (int): Priors an object may claim. Defaults to 13.
        alpha (float): Exponent of the score. Defaults to 1.
        beta (float): Exponent of the IoU. Defaults to 6.
        eps (float): Guards the divisions. Defaults to 1e-9.

    Source:
        TOOD, arXiv:2108.07755; PP-YOLOE, arXiv:2203.16250.
    """

    def __init__(self, topk: int = 13, alpha: float = 1.0, beta: float = 6.0,
                 eps: float = 1e-9) -> None:
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.eps = eps

    @torch.no_grad()
    def assign(self,
               pred_scores: Tensor,
               pred_bboxes: Tensor,
               priors: Tensor,
               targets: PaddedTargets,
               similarity: Optional[Tensor] = None) -> AssignResult:
        """Assign the priors of a batch.

        Args:
            pred_scores (Tensor): Scores of shape (B, L, C) within [0, 1].
            pred_bboxes (Tensor): Boxes of shape (B, L, 4), xyxy in pixels.
            priors (Tensor): Centres of shape (L, 2) in pixels.
            targets (PaddedTargets): Ground truth of M objects at most.
            similarity (Tensor, optional): Factor of shape (B, M, L) on the IoU
                wherever that is used, for example OKS. Defaults to None.

        Returns:
            AssignResult: The assignment.
        """
        num_images, num_priors, num_classes = pred_scores.shape
        num_objects = targets.mask.shape[1]
        if num_objects == 0:
            return self._background(pred_scores, num_classes)
        overlaps = pairwise_iou(targets.bboxes, pred_bboxes.float(), self.eps)
        if similarity is not None:
            overlaps = overlaps * similarity
        scores = pred_scores.float().transpose(1, 2).gather(
            1, targets.labels[..., None].expand(-1, -1, num_priors))
        alignment = scores.pow(self.alpha) * overlaps.pow(self.beta)  # (B, M, L)

        inside = points_in_boxes(priors, targets.bboxes, self.eps)
        candidates = (alignment * inside).topk(min(self.topk, num_priors), dim=-1).indices
        claimed = torch.zeros_like(inside).scatter_(-1, candidates, True)
        claimed &= inside & targets.mask[..., None]

        num_claims = claimed.sum(dim=1)
        pos_mask = num_claims > 0
        # the claimant where there is one, the best overlap where there are more:
        # an argmax over all of (B, M, L) would cost more than the rest
        order = torch.arange(num_objects, device=claimed.device)
        gt_inds = (claimed * order[:, None]).sum(dim=1)  # (B, L)
        image, prior = (num_claims > 1).nonzero(as_tuple=True)
        gt_inds[image, prior] = overlaps[image, :, prior].argmax(dim=-1)
        assigned_scores = self._soft_targets(alignment, overlaps, gt_inds, pos_mask)
        labels = targets.labels.gather(1, gt_inds).masked_fill_(~pos_mask, num_classes)
        bboxes = targets.bboxes.gather(1, gt_inds[..., None].expand(-1, -1, 4))
        return AssignResult(labels, gt_inds, bboxes, assigned_scores, pos_mask)

    def _soft_targets(self, alignment: Tensor, overlaps: Tensor, gt_inds: Tensor,
                      pos_mask: Tensor) -> Tensor:
        """Scale each object's alignment so that its maximum is the best overlap."""

        def assigned(values: Tensor) -> Tensor:
            values = values.gather(1, gt_inds[:, None]).squeeze(1)
            return values.masked_fill_(~pos_mask, 0)

        def largest_per_object(values: Tensor) -> Tensor:
            largest = values.new_zeros(alignment.shape[:2])
            return largest.scatter_reduce_(1, gt_inds, values, 'amax')

        aligned = assigned(alignment)
        scale = largest_per_object(assigned(overlaps)) / (largest_per_object(aligned) + self.eps)
        return aligned * scale.gather(1, gt_inds)

    @staticmethod
    def _background(pred_scores: Tensor, num_classes: int) -> AssignResult:
        shape = pred_scores.shape[:2]
        labels = pred_scores.new_full(shape, num_classes, dtype=torch.long)
        return AssignResult(
            labels=labels,
            gt_inds=torch.zeros_like(labels),
            bboxes=pred_scores.new_zeros((*shape, 4), dtype=torch.float32),
            assigned_scores=pred_scores.new_zeros(shape, dtype=torch.float32),
            pos_mask=torch.zeros_like(labels, dtype=torch.bool))
