"""Ground-truth poses of a batch as padded tensors."""
from dataclasses import dataclass
from typing import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmyolonas.models.utils import PaddedTargets, pad_sequences, padding_mask


@dataclass
class PoseTargets(PaddedTargets):
    """Poses of B images, each padded to the largest number M of objects.

    Attributes:
        keypoints (Tensor): Shape (B, M, K, 2) in pixels.
        visible (Tensor): float32 of shape (B, M, K): 1 where the annotation's
            visibility is above 0 (labelled, be it occluded or not), else 0.
        crowds (Tensor): Boolean of shape (B, M), True for groups.
    """
    keypoints: Tensor
    visible: Tensor
    crowds: Tensor


def pad_pose_targets(batch_gt_instances: Sequence[InstanceData], num_keypoints: int,
                     device: torch.device) -> PoseTargets:
    """Return the boxes and poses of a batch as padded tensors.

    Args:
        batch_gt_instances (Sequence[InstanceData]): Per image ``bboxes`` (n, 4)
            xyxy in pixels, ``keypoints`` (n, K, 2) in pixels,
            ``keypoints_visible`` (n, K) and optionally ``crowds`` (n,). An
            image without objects may lack them all.
        num_keypoints (int): The number K of the model.
        device (torch.device): Where to put the result.

    Returns:
        PoseTargets: The padded ground truth, float32.

    Raises:
        ValueError: If an annotation has another number of key points.
    """
    boxes, keypoints, visible, crowds = [], [], [], []
    for gt in batch_gt_instances:
        box = gt.get('bboxes')
        if box is None:
            box = torch.zeros(0, 4, device=device)
        number = len(box)
        boxes.append(box.float().view(-1, 4))
        keypoints.append(_points(gt, number, num_keypoints, device))
        seen = gt.get('keypoints_visible')
        if seen is None:
            seen = torch.ones(number, num_keypoints, device=device)
        if seen.dim() == 3:  # mmpose's second channel holds loss weights
            seen = seen[..., 0]
        visible.append((seen > 0).float().view(-1, num_keypoints))
        crowd = gt.get('crowds')
        crowds.append(torch.zeros(number, dtype=torch.bool, device=device)
                      if crowd is None else crowd.bool().view(-1))
    mask = padding_mask(boxes)
    return PoseTargets(
        labels=torch.zeros(mask.shape, dtype=torch.long, device=device),
        bboxes=pad_sequences(boxes, mask),
        mask=mask.to(device),
        keypoints=pad_sequences(keypoints, mask),
        visible=pad_sequences(visible, mask),
        crowds=pad_sequences(crowds, mask))


def _points(gt: InstanceData, number: int, num_keypoints: int, device: torch.device) -> Tensor:
    """Return the key points of one image, checked."""
    points = gt.get('keypoints')
    if points is None:
        if number:
            raise ValueError(f'{number} boxes have no keypoints: a pose model needs key points '
                             'for every box.')
        return torch.zeros(0, num_keypoints, 2, device=device)
    if number and tuple(points.shape[1:]) != (num_keypoints, 2):
        raise ValueError(
            f'the annotations have {points.shape[1]} key points, the head expects '
            f'num_keypoints={num_keypoints}: correct the config or the metainfo of the data set.')
    return points.float().view(-1, num_keypoints, 2)
