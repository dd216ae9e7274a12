"""Spatial pyramid pooling."""
from typing import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmyolonas.models.layers.conv import ConvNormAct
from mmyolonas.models.utils import OptConfig


class SPPBottleneck(BaseModule):
    """Max-pooling at several scales between two 1x1 convolutions (reference.md 2.7).

    A stride-1 max-pool of side ``a + b - 1`` is a pool of side ``a`` followed
    by one of side ``b``, exactly; the pools are chained, which gives the same
    numbers as the parallel 5, 9 and 13 of the original with less work.

    Args:
        in_channels (int): Input channels; half as many are pooled.
        out_channels (int): Output channels.
        kernel_sizes (Sequence[int]): Odd, increasing. Defaults to (5, 9, 13).
        norm_cfg (dict): Normalisation.
        act_cfg (dict, optional): Activation.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_sizes: Sequence[int] = (5, 9, 13),
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: OptConfig = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        hidden_channels = in_channels // 2
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.cv1 = ConvNormAct(in_channels, hidden_channels, 1, **cfg)
        sizes = [1, *kernel_sizes]
        self.pools = nn.ModuleList(
            nn.MaxPool2d(large - small + 1, 1, (large - small) // 2)
            for small, large in zip(sizes, sizes[1:]))
        self.cv2 = ConvNormAct(hidden_channels * len(sizes), out_channels, 1, **cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        outs = [self.cv1(x)]
        for pool in self.pools:
            outs.append(pool(outs[-1]))
        return self.cv2(torch.cat(outs, dim=1))
