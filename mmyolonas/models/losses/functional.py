"""Losses as pure functions; shared by detection and pose."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class _VarifocalSum(torch.autograd.Function):
    """Varifocal loss whose gradient is formed in the forward pass.

    Loss and gradient of a logit share the sigmoid and the softplus, so that few
    passes over memory suffice: half the time of the recorded operations, and
    one saved tensor instead of five.
    """

    @staticmethod
    def forward(ctx, cls_scores: Tensor, index: Tuple[Tensor, ...], target: Tensor,
                pos_weight: Tensor, alpha: float, gamma: float,
                ignore_mask: Optional[Tensor]) -> Tensor:
        scores = cls_scores.sigmoid()
        entropy = F.softplus(cls_scores)  # BCE(z, 0)
        pos_scores = scores[index]
        if ctx.needs_input_grad[0]:
            # (w * softplus)' = w * (gamma * (1 - p) * softplus + p), w = alpha * p^gamma
            grad = torch.addcmul(entropy, scores, entropy, value=-1)
            torch.add(scores, grad, alpha=gamma, out=grad)
            weight = scores.pow_(gamma).mul_(alpha)
            grad.mul_(weight)
            if ignore_mask is not None:
                grad.masked_fill_(ignore_mask, 0)
            grad[index] = pos_weight * (pos_scores - target)
            ctx.save_for_backward(grad)
        else:
            weight = scores.pow_(gamma).mul_(alpha)
        # the entries of the positives are taken back out instead of masked
        negative = weight.mul_(entropy)
        if ignore_mask is not None:
            negative.masked_fill_(ignore_mask, 0)
        positive = F.binary_cross_entropy_with_logits(
            cls_scores[index], target, weight=pos_weight, reduction='sum')
        return negative.sum() - negative[index].sum() + positive

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> Tuple[Optional[Tensor], ...]:
        grad, = ctx.saved_tensors
        return (grad * grad_output, ) + (None, ) * 6


def varifocal_loss(cls_scores: Tensor,
                   labels: Tensor,
                   assigned_scores: Tensor,
                   pos_mask: Tensor,
                   alpha: float = 0.75,
                   gamma: float = 2.0,
                   weight: Optional[Tensor] = None,
                   ignore_mask: Optional[Tensor] = None) -> Tensor:
    """Return the summed varifocal loss.

    ``sum w * BCE(z, t)`` with ``w = t`` for the assigned class of a positive
    prior and ``w = alpha * sigmoid(z) ** gamma`` everywhere else, where t is 0.
    The weight is not detached. A positive prior whose target is 0 weighs
    nothing for its class (reference.md 7.1).

    Args:
        cls_scores (Tensor): Logits of shape (B, L, C).
        labels (Tensor): Assigned class of shape (B, L); read where positive.
        assigned_scores (Tensor): Soft target of shape (B, L) within [0, 1].
        pos_mask (Tensor): Boolean of shape (B, L).
        alpha (float): Weight of the negatives. Defaults to 0.75.
        gamma (float): Exponent of the negatives' weight. Defaults to 2.
        weight (Tensor, optional): Of shape (B, L); multiplies the term of the
            assigned class of each positive prior, with its target as it is.
        ignore_mask (Tensor, optional): Boolean of shape (B, L, C); True leaves the term
            out, unless it is that of the assigned class of a positive prior.

    Returns:
        Tensor: Scalar.

    Source:
        VarifocalNet, arXiv:2008.13367.
    """
    batch, prior = pos_mask.nonzero(as_tuple=True)
    index = (batch, prior, labels[batch, prior])
    target = assigned_scores[batch, prior].to(cls_scores.dtype)
    pos_weight = target if weight is None else target * weight[batch, prior].to(target.dtype)
    return _VarifocalSum.apply(cls_scores, index, target, pos_weight, alpha, gamma, ignore_mask)


def distribution_focal_loss(bbox_dists: Tensor, distances: Tensor, reg_max: int) -> Tensor:
    """Return the distribution focal loss, averaged over the four sides.

    Args:
        bbox_dists (Tensor): Logits of shape (N, 4 * (reg_max + 1)), side-major.
        distances (Tensor): Target distances of shape (N, 4) in units of the
            stride; clipped to [0, reg_max - 0.01].
        reg_max (int): Largest value of the support.

    Returns:
        Tensor: Loss of shape (N,).

    Source:
        Generalized Focal Loss, arXiv:2006.04388; reference.md 7.3.
    """
    target = distances.clamp(0, reg_max - 0.01)
    lower = target.floor()
    log_probs = bbox_dists.unflatten(-1, (4, reg_max + 1)).log_softmax(-1)
    index = lower.long().unsqueeze(-1)
    left = log_probs.gather(-1, index).squeeze(-1)
    right = log_probs.gather(-1, index + 1).squeeze(-1)
    weight_right = target - lower
    return -(left * (1 - weight_right) + right * weight_right).mean(-1)


def soft_focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the focal loss on targets between 0 and 1, element by element.

    ``|sigmoid(z) - t| ** gamma * BCE(z, t)``; the weight is not detached, so the
    minimum 0 is at ``sigmoid(z) = t`` and the slope around it is linear.

    Args:
        logits (Tensor): Logits of any shape.
        target (Tensor): Targets of the same shape within [0, 1].
        gamma (float): Exponent of the weight. Defaults to 2.

    Returns:
        Tensor: Loss of the same shape.

    Source:
        Generalized Focal Loss (quality focal loss), arXiv:2006.04388.
    """
    weight = (logits.sigmoid() - target).abs().pow(gamma)
    return weight * F.binary_cross_entropy_with_logits(logits, target, reduction='none')
