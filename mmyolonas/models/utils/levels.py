"""Handling of per-level feature maps and of the candidates they give."""
from typing import Sequence, Tuple

import torch
from torch import Tensor


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Join per-level maps (B, C, H, W) into (B, L, C), row-major within a level.

    The memory order is that of the maps, (B, C, L) or (B, L, C), so that nothing
    is transposed but the description.
    """
    if not torch.jit.is_tracing() and not maps[0].is_contiguous():  # channels_last
        return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
    return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)


def gather_levels(maps: Sequence[Tensor], index: Tuple[Tensor, Tensor]) -> Tensor:
    """Gather priors from per-level maps without joining the maps.

    Args:
        maps (Sequence[Tensor]): Maps of shape (B, C, H, W).
        index (tuple[Tensor, Tensor]): Image and prior of each of N entries; the
            prior counts over all levels.

    Returns:
        Tensor: Values of shape (N, C), in the order of ``index``.
    """
    image, prior = index
    values, start = maps[0].new_empty(()), 0
    for x in maps:
        # of every entry, and kept where it is of this level: choosing the entries first
        # would let a GPU be waited for once a level
        last = x.shape[2] * x.shape[3] - 1
        picked = x.flatten(2).transpose(1, 2)[image, (prior - start).clamp(0, last)]
        values = picked if start == 0 else torch.where((prior >= start)[:, None], picked, values)
        start += last + 1
    return values


def select_candidates(scores: Tensor,
                      score_thr: float,
                      num_candidates: int,
                      multi_label: bool = True) -> Tuple[Tensor, Tensor, Tensor]:
    """Return the best (prior, class) pairs of an image (reference.md 5.1).

    Args:
        scores (Tensor): Scores of shape (L, C).
        score_thr (float): A pair's score is above it; with ``multi_label=False``
            at or above it.
        num_candidates (int): How many to keep at most.
        multi_label (bool): Whether a prior may stand for several classes.
            Defaults to True.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Scores, labels and priors of shape (N,);
        sorted by score if more than ``num_candidates`` passed.
    """
    if multi_label:
        priors, labels = (scores > score_thr).nonzero(as_tuple=True)
        scores = scores[priors, labels]
    else:
        scores, labels = scores.max(dim=1)
        priors = (scores >= score_thr).nonzero().squeeze(1)
        scores, labels = scores[priors], labels[priors]
    if len(scores) > num_candidates:
        scores, order = scores.topk(num_candidates)
        labels, priors = labels[order], priors[order]
    return scores, labels, priors
