"""Losses of YOLO-NAS-Pose as pure functions."""
import math
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from mmyolonas.models.losses.functional import soft_focal_loss
from mmyolonas.models.utils.keypoints import keypoint_errors


def aligned_focal_loss(cls_scores: Tensor,
                       labels: Tensor,
                       assigned_scores: Tensor,
                       pos_mask: Tensor,
                       gamma: float = 2.0,
                       ignore_mask: Optional[Tensor] = None) -> Tensor:
    """Return the summed focal loss on soft targets.

    ``sum |sigmoid(z) - t| ** gamma * BCE(z, t)``, weight not detached
    (reference.md 8.1).

    Args:
        cls_scores (Tensor): Logits of shape (B, L, C).
        labels (Tensor): Assigned class of shape (B, L); read where positive.
        assigned_scores (Tensor): Soft target of shape (B, L) within [0, 1].
        pos_mask (Tensor): Boolean of shape (B, L).
        gamma (float): Exponent of the weight. Defaults to 2.
        ignore_mask (Tensor, optional): Boolean of shape (B, L), or (B, L, C); True
            leaves a prior, or one of its scores, out of the sum. Of shape (B, L, C) it does
            not concern the assigned class of a positive prior.

    Returns:
        Tensor: Scalar.
    """
    target = torch.zeros_like(cls_scores)
    batch, prior = pos_mask.nonzero(as_tuple=True)
    target[batch, prior, labels[batch, prior]] = assigned_scores[batch, prior].to(target.dtype)
    loss = soft_focal_loss(cls_scores, target, gamma)
    if ignore_mask is not None and ignore_mask.dim() == 3:
        ignore_mask = ignore_mask.clone()
        ignore_mask[batch, prior, labels[batch, prior]] = False
        loss = loss.masked_fill(ignore_mask, 0)
    elif ignore_mask is not None:
        loss = loss.masked_fill(ignore_mask[..., None], 0)
    return loss.sum()


def ciou_loss(pred: Tensor, target: Tensor, eps: float = 1e-10) -> Tensor:
    """Return ``1 - CIoU`` of pairs of boxes.

    ``1 - IoU + distance^2 / diagonal^2 + v * a``, where v measures the aspect
    ratio and ``a = v / (1 - IoU + v)`` carries no gradient. mmdet's version
    drops the last term below an IoU of 0.5; this one never does
    (reference.md 8.2). The angle is formed by ``atan2``, which stays finite for a box that
    has collapsed.

    Args:
        pred (Tensor): Boxes of shape (N, 4) as xyxy.
        target (Tensor): Boxes of shape (N, 4) as xyxy.
        eps (float): Guards the divisions. Defaults to 1e-10.

    Returns:
        Tensor: Loss of shape (N,), at least 0.

    Source:
        Distance-IoU, arXiv:1911.08287.
    """
    common = torch.minimum(pred[:, 2:], target[:, 2:]) - torch.maximum(pred[:, :2], target[:, :2])
    overlap = common.clamp(min=0).prod(-1)
    area, target_area = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (pred, target))
    iou = overlap / (area + target_area - overlap + eps)
    hull = torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])
    diagonal = hull.square().sum(-1) + eps
    offset = (target[:, :2] + target[:, 2:] - pred[:, :2] - pred[:, 2:]) / 2
    aspect = 4 / math.pi**2 * (_angle(target) - _angle(pred)).square()
    with torch.no_grad():
        trade_off = aspect / (1 - iou + aspect).clamp(min=eps)
    return 1 - iou + offset.square().sum(-1) / diagonal + aspect * trade_off


def _angle(boxes: Tensor) -> Tensor:
    """Return ``atan(width / height)``; 1e-6 bounds the slope at a collapsed box."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(-1)
    return torch.atan2(width, height.clamp(min=1e-6))


def oks_loss(pred: Tensor, target: Tensor, visible: Tensor, areas: Tensor,
             sigmas: Tensor) -> Tensor:
    """Return the mean of ``1 - exp(-error)`` over the visible key points.

    Args:
        pred (Tensor): Key points of shape (N, K, 2) in pixels.
        target (Tensor): Key points of shape (N, K, 2) in pixels.
        visible (Tensor): 0 or 1, of shape (N, K).
        areas (Tensor): Object areas of shape (N,) in square pixels.
        sigmas (Tensor): Shape (K,).

    Returns:
        Tensor: Loss of shape (N,) within [0, 1]; 0 where nothing is visible.

    Source:
        YOLO-Pose, arXiv:2204.06806; reference.md 8.3.
    """
    dissimilarity = 1 - keypoint_errors(pred, target, areas, sigmas).neg().exp()
    return (dissimilarity * visible).sum(-1) / (visible.sum(-1) + 1e-9)


def keypoint_focal_loss(kpt_scores: Tensor, visible: Tensor, alpha: float = 0.25,
                        gamma: float = 2.0) -> Tensor:
    """Return the focal loss of key-point confidences, averaged over key points.

    Args:
        kpt_scores (Tensor): Logits of shape (N, K).
        visible (Tensor): 0 or 1, of shape (N, K).
        alpha (float): Weight of the visible ones. Defaults to 0.25.
        gamma (float): Exponent of ``1 - p``. Defaults to 2.

    Returns:
        Tensor: Loss of shape (N,).

    Source:
        RetinaNet, arXiv:1708.02002; reference.md 8.4.
    """
    probability = kpt_scores.sigmoid()
    miss = probability * (1 - visible) + (1 - probability) * visible
    balance = alpha * visible + (1 - alpha) * (1 - visible)
    loss = F.binary_cross_entropy_with_logits(kpt_scores, visible, reduction='none')
    return (balance * miss.pow(gamma) * loss).mean(-1)
