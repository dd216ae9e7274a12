"""Bottleneck and cross-stage-partial layer of YOLO-NAS."""
from typing import Optional

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmyolonas.models.layers.conv import ConvNormAct
from mmyolonas.models.layers.qarepvgg import QARepVGGBlock
from mmyolonas.models.utils import OptConfig

BLOCK_TYPES = ('qarepvgg', 'conv')


def build_block(block: str, channels: int, attention_ratio: Optional[float], norm_cfg: dict,
                act_cfg: OptConfig) -> nn.Module:
    """Return a 3x3 block with equal in- and output channels.

    Args:
        block (str): ``'qarepvgg'`` or ``'conv'``.
        channels (int): Channels.
        attention_ratio (float, optional): Squeeze ratio of the attention; only
            QARepVGG blocks have one.
        norm_cfg (dict): Normalisation.
        act_cfg (dict, optional): Activation.

    Raises:
        ValueError: Unknown block type.
    """
    if block == 'qarepvgg':
        return QARepVGGBlock(
            channels, channels, attention_ratio=attention_ratio, norm_cfg=norm_cfg,
            act_cfg=act_cfg)
    if block == 'conv':
        return ConvNormAct(channels, channels, 3, norm_cfg=norm_cfg, act_cfg=act_cfg)
    raise ValueError(f'unknown block type {block!r}; choose one of {", ".join(BLOCK_TYPES)}.')


class YOLONASBottleneck(BaseModule):
    """Two 3x3 blocks with a scaled shortcut: ``alpha * x + DropPath(cv2(cv1(x)))``.

    ``alpha`` is a learnt scalar of shape (1,), initially 1 (reference.md 2.5).

    Args:
        channels (int): Input, inner and output channels.
        block (str): ``'qarepvgg'`` (backbone, top-down path) or ``'conv'``
            (bottom-up path). Defaults to ``'qarepvgg'``.
        attention_ratio (float, optional): Squeeze ratio of the blocks' attention.
        drop_path_rate (float): Probability of dropping the residual of a
            sample. Defaults to 0.
        norm_cfg (dict): Normalisation.
        act_cfg (dict, optional): Activation.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self,
                 channels: int,
                 block: str = 'qarepvgg',
                 attention_ratio: Optional[float] = None,
                 drop_path_rate: float = 0.,
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: OptConfig = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        self.alpha = nn.Parameter(torch.ones(1))
        self.cv1 = build_block(block, channels, attention_ratio, norm_cfg, act_cfg)
        self.cv2 = build_block(block, channels, attention_ratio, norm_cfg, act_cfg)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        # the shortcut is a module of its own so that a quantiser can stand on it
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        return self.alpha * self.shortcut(x) + self.drop_path(self.cv2(self.cv1(x)))


class YOLONASCSPLayer(BaseModule):
    """Cross-stage-partial layer (reference.md 2.6).

    ``conv1`` feeds a chain of bottlenecks, ``conv2`` by-passes it, and
    ``conv3`` joins either the last (plain) or all intermediate results with
    the by-pass.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        num_blocks (int): Number of bottlenecks.
        hidden_channels (int): Channels within the layer.
        concat_intermediates (bool): Whether ``conv3`` sees the input and the
            output of every bottleneck. Defaults to False.
        block (str): Block type of the bottlenecks. Defaults to ``'qarepvgg'``.
        attention_ratio (float, optional): Squeeze ratio of the blocks' attention.
        drop_path_rate (float): Drop-path rate of the bottlenecks. Defaults to 0.
        norm_cfg (dict): Normalisation.
        act_cfg (dict, optional): Activation.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 num_blocks: int,
                 hidden_channels: int,
                 concat_intermediates: bool = False,
                 block: str = 'qarepvgg',
                 attention_ratio: Optional[float] = None,
                 drop_path_rate: float = 0.,
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: OptConfig = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        self.concat_intermediates = concat_intermediates
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        num_joined = num_blocks + 2 if concat_intermediates else 2
        self.conv1 = ConvNormAct(in_channels, hidden_channels, 1, **cfg)
        self.conv2 = ConvNormAct(in_channels, hidden_channels, 1, **cfg)
        self.conv3 = ConvNormAct(num_joined * hidden_channels, out_channels, 1, **cfg)
        self.bottlenecks = nn.ModuleList(
            YOLONASBottleneck(hidden_channels, block, attention_ratio, drop_path_rate, **cfg)
            for _ in range(num_blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        outs = [self.conv1(x)]
        for bottleneck in self.bottlenecks:
            outs.append(bottleneck(outs[-1]))
        if not self.concat_intermediates:
            outs = outs[-1:]
        return self.conv3(torch.cat([*outs, self.conv2(x)], dim=1))
