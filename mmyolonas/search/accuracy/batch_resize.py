"""Another input size for a batch that is already made."""
from typing import Any, List, Tuple

import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmyolonas.search.accuracy.recipe import aligned


def resize_batch(inputs: Tensor, data_samples: List[Any],
                 size: int) -> Tuple[Tensor, List[Any]]:
    """Scale images and their annotations; nothing that was given is changed.

    Args:
        inputs (Tensor): Images (B, 3, H, W).
        data_samples (list): mmdet's or mmpose's data samples.
        size (int): Longer side that is wanted; both become multiples of 32.

    Returns:
        tuple[Tensor, list]: Images and data samples.
    """
    height, width = inputs.shape[-2:]
    if max(height, width) == size:
        return inputs, data_samples
    sides = tuple(aligned(side * size / max(height, width)) for side in (height, width))
    factors = (sides[1] / width, sides[0] / height)  # x, y
    inputs = F.interpolate(inputs, sides, mode='bilinear', align_corners=False)
    return inputs, [_scaled(sample, factors, sides) for sample in data_samples]


def _scaled(sample: Any, factors: Tuple[float, float], sides: Tuple[int, int]) -> Any:
    sample = sample.clone()
    sample.set_metainfo(dict(img_shape=sides, batch_input_shape=sides, pad_shape=sides))
    for name in ('gt_instances', 'gt_instance_labels'):
        if name in sample:
            setattr(sample, name, _scaled_instances(getattr(sample, name), factors))
    return sample


def _scaled_instances(instances: InstanceData, factors: Tuple[float, float]) -> InstanceData:
    instances = instances.clone()
    if 'bboxes' in instances:
        boxes = instances.bboxes
        boxes = getattr(boxes, 'tensor', boxes)
        instances.bboxes = boxes * boxes.new_tensor(factors).repeat(2)
    if 'keypoints' in instances:
        instances.keypoints = instances.keypoints * instances.keypoints.new_tensor(factors)
    if 'areas' in instances:
        instances.areas = instances.areas * factors[0] * factors[1]
    return instances
