"""Training at several image sizes."""
from typing import List, Tuple

import numpy as np
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmyolonas.registry import MODELS


@MODELS.register_module()
class BatchRandomResize(nn.Module):
    """Scale each batch by a factor that changes every few steps.

    For ``batch_augments`` of mmdet's ``DetDataPreprocessor``. The factor depends on the
    seed and the step alone: all processes of a distributed training have the same without
    asking each other, and a resumed training goes on with that of its step. (mmdet's
    ``BatchSyncRandomResize`` broadcasts one and forgets it on resume.)

    Args:
        scale_range (tuple[float, float]): Factors of both sides. Defaults to (0.75, 1.25).
        interval (int): Steps of one size. Defaults to 10.
        size_divisor (int): Sides become multiples of it. Defaults to 32.
        seed (int): Of the sequence of factors. Defaults to 0.
    """

    def __init__(self, scale_range: Tuple[float, float] = (0.75, 1.25), interval: int = 10,
                 size_divisor: int = 32, seed: int = 0) -> None:
        super().__init__()
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f'scale_range must rise from above 0, got {scale_range}')
        self.scale_range = tuple(scale_range)
        self.interval = interval
        self.size_divisor = size_divisor
        self.seed = seed

    def size_at(self, step: int, height: int, width: int) -> Tuple[int, int]:
        """Return the height and width of a step's batches, for the size they come in."""
        draw = np.random.default_rng((self.seed, step // self.interval))
        scale = draw.uniform(*self.scale_range)
        return tuple(max(1, round(side * scale / self.size_divisor)) * self.size_divisor
                     for side in (height, width))

    def forward(self, inputs: Tensor, data_samples: list) -> Tuple[Tensor, list]:
        """Scale images (B, 3, H, W) and the boxes of their samples."""
        height, width = inputs.shape[-2:]
        step = MessageHub.get_current_instance().get_info('iter', 0)
        return scale_batch(inputs, data_samples, self.size_at(int(step), height, width))


def scale_batch(inputs: Tensor, data_samples: list, size: Tuple[int, int]) -> Tuple[Tensor, list]:
    """Scale images and the boxes of their samples.

    Args:
        inputs (Tensor): (B, 3, H, W).
        data_samples (list[DetDataSample]): Changed in place, their boxes are new tensors.
        size (tuple[int, int]): New height and width in pixels.

    Returns:
        tuple[Tensor, list]: Images (B, 3, *size) and samples.
    """
    height, width = inputs.shape[-2:]
    if size == (height, width):
        return inputs, data_samples
    inputs = F.interpolate(inputs, size, mode='bilinear', align_corners=False)
    factors = size[1] / width, size[0] / height  # x, y
    for sample in data_samples:
        shapes = {key: tuple(round(side * factor) for side, factor in
                             zip(sample.metainfo[key], factors[::-1]))
                  for key in ('img_shape', 'pad_shape') if key in sample.metainfo}
        sample.set_metainfo(dict(shapes, batch_input_shape=size))
        parts: List[InstanceData] = [sample.gt_instances]
        if 'ignored_instances' in sample:
            parts.append(sample.ignored_instances)
        for instances in parts:
            boxes = getattr(instances.bboxes, 'tensor', instances.bboxes)
            instances.bboxes = boxes * boxes.new_tensor(factors).repeat(2)
    return inputs, data_samples
