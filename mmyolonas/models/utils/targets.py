"""Ground truth of a batch as padded tensors."""
from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor


@dataclass
class PaddedTargets:
    """Ground truth of B images, each padded to the largest number M of objects.

    Attributes:
        labels (Tensor): Classes of shape (B, M), 0 where padded.
        bboxes (Tensor): xyxy boxes in pixels of shape (B, M, 4), 0 where padded.
        mask (Tensor): Boolean of shape (B, M), False where padded.
    """
    labels: Tensor
    bboxes: Tensor
    mask: Tensor


def pad_sequences(sequences: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Stack tensors of different lengths, filling up with zeros.

    Args:
        sequences (Sequence[Tensor]): B tensors of shape (n_i, ...).
        mask (Tensor): Boolean of shape (B, M) whose rows begin with n_i True. On
            the CPU, wherever the tensors are: a GPU would be waited for until it
            had counted them.

    Returns:
        Tensor: Shape (B, M, ...).
    """
    values = torch.cat(list(sequences))
    padded = values.new_zeros((*mask.shape, *values.shape[1:]))
    index = mask.nonzero(as_tuple=True)
    padded[tuple(places.to(values.device, non_blocking=True) for places in index)] = values
    return padded


def padding_mask(sequences: Sequence[Tensor]) -> Tensor:
    """Return the mask of :func:`pad_sequences`, on the CPU."""
    counts = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.long)
    largest = int(counts.max()) if len(counts) else 0
    return torch.arange(largest) < counts[:, None]


def pad_targets(batch_gt_instances: Sequence, device: torch.device) -> PaddedTargets:
    """Return the boxes and labels of a batch as padded tensors.

    Args:
        batch_gt_instances (Sequence[InstanceData]): Per image ``bboxes`` (n, 4)
            xyxy in pixels and ``labels`` (n,).
        device (torch.device): Where to put the result.

    Returns:
        PaddedTargets: The padded ground truth; boxes are float32.
    """
    labels = [gt.labels.long() for gt in batch_gt_instances]
    mask = padding_mask(labels)
    boxes = [getattr(gt.bboxes, 'tensor', gt.bboxes).float().view(-1, 4)
             for gt in batch_gt_instances]
    return PaddedTargets(labels=pad_sequences(labels, mask), bboxes=pad_sequences(boxes, mask),
                         mask=mask.to(device))


def pad_weights(batch_gt_instances: Sequence, mask: Tensor) -> Tensor:
    """Return the weights of a batch's objects, padded with 0.

    Args:
        batch_gt_instances (Sequence[InstanceData]): Per image ``labels`` (n,) and
            perhaps ``weights`` (n,) within [0, 1]; 1 where they are missing.
        mask (Tensor): Boolean of shape (B, M) of the padded targets.

    Returns:
        Tensor: Shape (B, M), float32.
    """
    weights = [gt.get('weights', torch.ones(len(gt.labels))).float().to(mask.device)
               for gt in batch_gt_instances]
    return pad_sequences(weights, padding_mask(weights))
