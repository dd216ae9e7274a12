"""Box geometry as pure functions: distributions, distances and overlaps."""
from typing import List, Sequence, Tuple

import torch
from torch import Tensor


def integral(bbox_dists: Tensor, reg_max: int, dim: int = 1) -> Tensor:
    """Return the expectation of four discrete distributions.

    Args:
        bbox_dists (Tensor): Logits with ``4 * (reg_max + 1)`` entries along
            ``dim``, side-major (left, top, right, bottom), for example of shape
            (B, 4 * (reg_max + 1), H, W).
        reg_max (int): Largest value of the support 0..reg_max.
        dim (int): Dimension of the logits. Defaults to 1.

    Returns:
        Tensor: Expected distances in units of the stride, within [0, reg_max];
        ``dim`` has size 4.

    Source:
        Generalized Focal Loss, arXiv:2006.04388; reference.md 4.2.
    """
    dim = dim % bbox_dists.dim()
    probabilities = bbox_dists.unflatten(dim, (4, reg_max + 1)).softmax(dim + 1)
    support = torch.arange(reg_max + 1, device=bbox_dists.device, dtype=probabilities.dtype)
    shape = [1] * probabilities.dim()
    shape[dim + 1] = reg_max + 1
    return (probabilities * support.view(shape)).sum(dim + 1)


def grid_priors(featmap_sizes: Sequence[Tuple[int, int]],
                strides: Sequence[int],
                device: torch.device = 'cpu',
                dtype: torch.dtype = torch.float32) -> Tuple[Tensor, Tensor]:
    """Return the cell centres of all levels and their strides.

    Args:
        featmap_sizes (Sequence[tuple[int, int]]): (H, W) of each level.
        strides (Sequence[int]): Stride of each level in pixels.
        device (torch.device): Device of the result.
        dtype (torch.dtype): Type of the result.

    Returns:
        tuple[Tensor, Tensor]: Centres (L, 2) as x, y in pixels, row-major within
        a level; strides (L, 1) in pixels.
    """
    priors: List[Tensor] = []
    scales: List[Tensor] = []
    for (height, width), stride in zip(featmap_sizes, strides):
        # formed in float32: half precision cannot count the cells of a large image
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
        y, x = torch.meshgrid(y, x, indexing='ij')
        priors.append(torch.stack([x, y], dim=-1).view(-1, 2))
        scales.append(x.new_full((height * width, 1), stride))
    return torch.cat(priors).to(dtype), torch.cat(scales).to(dtype)


def distances_to_boxes(priors: Tensor, distances: Tensor) -> Tensor:
    """Return xyxy boxes from centres and side distances.

    Args:
        priors (Tensor): Centres of shape (..., 2) as x, y.
        distances (Tensor): Left, top, right, bottom of shape (..., 4), in the
            same unit.

    Returns:
        Tensor: Boxes of shape (..., 4) as x1, y1, x2, y2.
    """
    return torch.cat([priors - distances[..., :2], priors + distances[..., 2:]], dim=-1)


def boxes_to_distances(priors: Tensor, boxes: Tensor) -> Tensor:
    """Return side distances from centres to xyxy boxes; inverse of the above."""
    return torch.cat([priors - boxes[..., :2], boxes[..., 2:] - priors], dim=-1)


def _areas(boxes: Tensor) -> Tensor:
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def pairwise_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-9) -> Tensor:
    """Return the IoU of every pair of boxes.

    ``intersection / (area1 + area2 - intersection + eps)``; inverted boxes have
    no area (reference.md 6.1).

    Args:
        boxes1 (Tensor): Boxes of shape (..., M, 4) as xyxy.
        boxes2 (Tensor): Boxes of shape (..., L, 4) as xyxy.
        eps (float): Added to the union. Defaults to 1e-9.

    Returns:
        Tensor: IoU of shape (..., M, L) within [0, 1].
    """
    x1, y1, x2, y2 = boxes1.unsqueeze(-1).unbind(-2)  # each (..., M, 1)
    # contiguous along L, which is several times faster
    u1, v1, u2, v2 = boxes2.transpose(-1, -2).contiguous().unsqueeze(-2).unbind(-3)  # (..., 1, L)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp_(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp_(min=0)
    intersection = width.mul_(height)
    union = _areas(boxes1).unsqueeze(-1) + _areas(boxes2).unsqueeze(-2) - intersection
    return intersection / union.add_(eps)


def points_in_boxes(points: Tensor, boxes: Tensor, eps: float = 1e-9) -> Tensor:
    """Return which points lie inside which boxes.

    Args:
        points (Tensor): Points of shape (L, 2) as x, y.
        boxes (Tensor): Boxes of shape (B, M, 4) as xyxy.
        eps (float): Smallest distance to a side that counts as inside.
            Defaults to 1e-9.

    Returns:
        Tensor: Boolean mask of shape (B, M, L).
    """
    x, y = points.t().contiguous()  # (L,), contiguous for speed
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unbind(-2)  # each (B, M, 1)
    inside = torch.minimum(x - x1, x2 - x)
    inside = torch.minimum(inside, torch.minimum(y - y1, y2 - y))
    return inside > eps
