"""Training that begins with small images."""
from typing import Sequence, Tuple

from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmyolonas.models.data_preprocessors.batch_random_resize import scale_batch
from mmyolonas.registry import MODELS


@MODELS.register_module()
class BatchGrowingResize(nn.Module):
    """Scale the batches of the first part of a training down.

    For ``batch_augments`` of mmdet's ``DetDataPreprocessor``. A step on half the side costs
    a quarter; what is learnt there is carried over to the full size (progressive resizing,
    as in EfficientNetV2, arXiv:2104.00298). The size depends on the step alone, so that a
    resumed training goes on with that of its step.

    Args:
        stages (Sequence[tuple[float, float]]): Shares of the training's steps up to which a
            factor of both sides is used, rising; afterwards the images keep their size.
        size_divisor (int): Sides become multiples of it. Defaults to 32.
    """

    def __init__(self, stages: Sequence[Tuple[float, float]] = ((0.6, 0.5), ),
                 size_divisor: int = 32) -> None:
        super().__init__()
        ends = [end for end, _ in stages]
        if ends != sorted(ends) or not all(0 < end <= 1 and 0 < factor <= 1
                                           for end, factor in stages):
            raise ValueError('stages must be pairs of a share and a factor, both within 0 and 1, '
                             f'the shares rising; got {stages}')
        self.stages = tuple(stages)
        self.size_divisor = size_divisor

    def size_at(self, share: float, height: int, width: int) -> Tuple[int, int]:
        """Return the height and width at a share of the training, for the full ones."""
        factor = next((factor for end, factor in self.stages if share < end), 1.0)
        if factor == 1:
            return height, width
        return tuple(max(1, round(side * factor / self.size_divisor)) * self.size_divisor
                     for side in (height, width))

    def forward(self, inputs: Tensor, data_samples: list) -> Tuple[Tensor, list]:
        """Scale images (B, 3, H, W) and the boxes of their samples."""
        hub = MessageHub.get_current_instance()
        share = hub.get_info('iter', 0) / max(1, hub.get_info('max_iters', 1))
        return scale_batch(inputs, data_samples, self.size_at(share, *inputs.shape[-2:]))
