"""Maps a student's features to those of its teacher."""
from typing import List, Sequence

from torch import Tensor, nn

from mmyolonas.registry import MODELS


@MODELS.register_module()
class FeatureAdapters(nn.ModuleList):
    """One 1x1 convolution for each feature map, used in distillation alone.

    It is part of the student's head (``feature_adapters=``), so that it is
    trained, averaged and resumed with it; inference does not call it.

    Args:
        in_channels (Sequence[int]): Channels of the student's feature maps.
        out_channels (Sequence[int]): Channels of the teacher's.

    Raises:
        ValueError: The two differ in length.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: Sequence[int]) -> None:
        if len(in_channels) != len(out_channels):
            raise ValueError(
                'FeatureAdapters: in_channels and out_channels need one entry per feature map, '
                f'got {len(in_channels)} and {len(out_channels)}.')
        super().__init__(
            nn.Conv2d(student, teacher, 1) for student, teacher in zip(in_channels, out_channels))

    def forward(self, feats: Sequence[Tensor]) -> List[Tensor]:
        """Return the adapted feature maps, of shape (B, out_channels, H, W)."""
        return [adapter(x) for adapter, x in zip(self, feats)]
