"""Path-aggregation neck of YOLO-NAS."""
from typing import Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmyolonas.models.layers import ConvNormAct, YOLONASCSPLayer, fuse_blocks
from mmyolonas.models.utils import OptConfig, pick_arch
from mmyolonas.registry import MODELS


class UpStage(BaseModule):
    """Top-down stage that joins three feature maps (reference.md 3.2).

    Args:
        in_channels (Sequence[int]): Channels of the coarse map (stride 2s), of
            the map of stride s and of the fine map (stride s / 2).
        out_channels (int): Output channels.
        num_blocks (int): Bottlenecks of the CSP layer.
        hidden_channels (int): Channels within the CSP layer.
        block (str): Block type. Defaults to ``'qarepvgg'``.
        norm_cfg (dict): Normalisation.
        act_cfg (dict): Activation.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_blocks: int,
                 hidden_channels: int, block: str = 'qarepvgg', **cfg) -> None:
        super().__init__()
        coarse, middle, fine = in_channels
        self.conv = ConvNormAct(coarse, out_channels, 1, **cfg)
        self.upsample = nn.ConvTranspose2d(out_channels, out_channels, 2, 2)
        self.reduce_skip1 = ConvNormAct(middle, out_channels, 1, **cfg)
        self.reduce_skip2 = ConvNormAct(fine, out_channels, 1, **cfg)
        self.downsample = ConvNormAct(out_channels, out_channels, 3, 2, **cfg)
        self.reduce_after_concat = ConvNormAct(3 * out_channels, out_channels, 1, **cfg)
        self.blocks = YOLONASCSPLayer(
            out_channels, out_channels, num_blocks, hidden_channels, block=block, **cfg)

    def forward(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Tuple[Tensor, Tensor]:
        """Return the reduced coarse map (stride 2s) and the joined map (stride s)."""
        reduced = self.conv(coarse)
        joined = torch.cat([
            self.upsample(reduced),
            self.reduce_skip1(middle),
            self.downsample(self.reduce_skip2(fine))
        ], dim=1)
        return reduced, self.blocks(self.reduce_after_concat(joined))


class DownStage(BaseModule):
    """Bottom-up stage that joins two feature maps (reference.md 3.2).

    Args:
        in_channels (Sequence[int]): Channels of the fine map (stride s / 2) and
            of the map of stride s.
        out_channels (int): Output channels.
        num_blocks (int): Bottlenecks of the CSP layer.
        hidden_channels (int): Channels within the CSP layer.
        block (str): Block type. Defaults to ``'conv'``.
        norm_cfg (dict): Normalisation.
        act_cfg (dict): Activation.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_blocks: int,
                 hidden_channels: int, block: str = 'conv', **cfg) -> None:
        super().__init__()
        fine, skip = in_channels
        self.conv = ConvNormAct(fine, out_channels // 2, 3, 2, **cfg)
        self.blocks = YOLONASCSPLayer(
            out_channels // 2 + skip, out_channels, num_blocks, hidden_channels, block=block,
            **cfg)

    def forward(self, fine: Tensor, skip: Tensor) -> Tensor:
        """Return the joined map of shape (B, out_channels, H, W)."""
        return self.blocks(torch.cat([self.conv(fine), skip], dim=1))


def _stages(*rows: tuple) -> Tuple[dict, ...]:
    keys = ('out_channels', 'num_blocks', 'hidden_channels')
    return tuple(dict(zip(keys, row)) for row in rows)


@MODELS.register_module()
class YOLONASPAN(BaseModule):
    """PAN that also reads the stride-4 map (reference.md 3.2, reference.md 3.5).

    .. code:: text

        c5/32 --> neck1 --inter1/32-----------------+
        c4/16 -->   |                               v
        c3/8  -->  n1/16 -> neck2 --inter2/16--+  neck4 -> p5/32
        c3/8, c2/4 ---------->|                v    ^
                              +-> p3/8 ---> neck3 --+----> p4/16

    Args:
        arch (str | dict): ``'n'``, ``'s'``, ``'m'``, ``'l'`` or a table with the
            keys of :attr:`arch_settings`: ``in_channels`` of (c2, c3, c4, c5)
            and ``stages``, four dictionaries (two top-down, two bottom-up) with
            ``out_channels``, ``num_blocks``, ``hidden_channels`` and optionally
            ``block``. Defaults to ``'s'``.
        in_channels (Sequence[int], optional): Channels of (c2, c3, c4, c5);
            None takes the table's. Defaults to None.
        norm_cfg (dict): Normalisation. Defaults to the detection models' batch
            norm; the pose models use eps 1e-6.
        act_cfg (dict): Activation. Defaults to ReLU.
        init_cfg (dict, optional): Initialisation of the weights.
    """

    # stages from left to right: out_channels, num_blocks, hidden_channels
    arch_settings = dict(
        n=dict(
            in_channels=(64, 128, 256, 512),
            stages=_stages((128, 2, 48), (64, 2, 32), (128, 2, 48), (256, 2, 48))),
        s=dict(
            in_channels=(96, 192, 384, 768),
            stages=_stages((192, 2, 64), (96, 2, 48), (192, 2, 64), (384, 2, 64))),
        m=dict(
            in_channels=(96, 192, 384, 768),
            stages=_stages((192, 2, 192), (96, 3, 64), (192, 2, 192), (384, 3, 256))),
        l=dict(
            in_channels=(96, 192, 384, 768),
            stages=_stages((192, 4, 128), (96, 4, 128), (192, 4, 128), (384, 4, 256))))

    def __init__(self,
                 arch: Union[str, dict] = 's',
                 in_channels: Optional[Sequence[int]] = None,
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: dict = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        table = pick_arch(arch, self.arch_settings, type(self).__name__)
        in_channels = table['in_channels'] if in_channels is None else in_channels
        if len(in_channels) != 4 or len(table['stages']) != 4:
            raise ValueError(
                'YOLONASPAN: needs the channels of 4 feature maps (strides 4, 8, 16, 32) and 4 '
                f'stages, got {len(in_channels)} and {len(table["stages"])}.')
        c2, c3, c4, c5 = self.in_channels = tuple(in_channels)
        up1, up2, down1, down2 = table['stages']
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.neck1 = UpStage((c5, c4, c3), **up1, **cfg)
        self.neck2 = UpStage((up1['out_channels'], c3, c2), **up2, **cfg)
        self.neck3 = DownStage((up2['out_channels'], up2['out_channels']), **down1, **cfg)
        self.neck4 = DownStage((down1['out_channels'], up1['out_channels']), **down2, **cfg)
        self.out_channels = tuple(stage['out_channels'] for stage in (up2, down1, down2))

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
        """Map (c2, c3, c4, c5) to (p3, p4, p5) of strides 8, 16, 32."""
        c2, c3, c4, c5 = feats
        inter1, n1 = self.neck1(c5, c4, c3)
        inter2, p3 = self.neck2(n1, c3, c2)
        p4 = self.neck3(p3, inter2)
        p5 = self.neck4(p4, inter1)
        return p3, p4, p5

    def switch_to_deploy(self, test_cfg: OptConfig = None) -> None:
        """Fuse every re-parameterised block; idempotent."""
        fuse_blocks(self)
