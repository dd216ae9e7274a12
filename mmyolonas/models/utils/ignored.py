"""Regions of which nobody says what is in them."""
from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import points_in_boxes
from .targets import pad_targets

#: What a region leaves open: whether there is something of its class, or anything at all.
IGNORED_REGIONS = ('class', 'all')


def ignored_priors(batch_ignored: Sequence, priors: Tensor, num_classes: int,
                   which: str = 'class', eps: float = 1e-9) -> Optional[Tensor]:
    """Return the scores that ignored regions say nothing about.

    A prior is concerned if its centre lies inside the region: an object there could
    have claimed it (reference.md 7.6).

    Args:
        batch_ignored (Sequence[InstanceData | None]): Per image ``bboxes`` (n, 4) xyxy in
            pixels and ``labels`` (n,); None for an image without.
        priors (Tensor): Centres of shape (L, 2) in pixels.
        num_classes (int): Number C of classes.
        which (str): ``'class'`` for the scores of the region's class alone, ``'all'``
            for those of every class. Defaults to ``'class'``.
        eps (float): Smallest distance to a side that counts as inside. Defaults to 1e-9.

    Returns:
        Tensor | None: Boolean of shape (B, L, C); None if there is no region.
    """
    known = [gt for gt in batch_ignored if gt is not None and len(gt.labels)]
    if not known:
        return None
    empty = known[0][:0]
    targets = pad_targets([empty if gt is None else gt for gt in batch_ignored], priors.device)
    inside = points_in_boxes(priors, targets.bboxes, eps)  # (B, M, L); never in a padded box
    if which == 'all':
        return inside.any(dim=1)[..., None].expand(-1, -1, num_classes)
    classes = F.one_hot(targets.labels, num_classes).to(priors.dtype)  # (B, M, C)
    return torch.matmul(inside.transpose(1, 2).to(priors.dtype), classes) > 0
