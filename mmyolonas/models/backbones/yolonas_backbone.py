"""Backbone of YOLO-NAS."""
from typing import Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmyolonas.models.layers import QARepVGGBlock, SPPBottleneck, YOLONASCSPLayer, fuse_blocks
from mmyolonas.models.utils import OptConfig, pick_arch
from mmyolonas.registry import MODELS
from mmyolonas.utils.errors import ShapeError


def _stages(*rows: tuple) -> Tuple[dict, ...]:
    keys = ('out_channels', 'num_blocks', 'hidden_channels', 'concat_intermediates')
    return tuple(dict(zip(keys, row)) for row in rows)


@MODELS.register_module()
class YOLONASBackbone(BaseModule):
    """Stem, four stages and a context module (reference.md 3.1, reference.md 3.5).

    .. code:: text

        image -> stem /2 -> stage1 /4 -> stage2 /8 -> stage3 /16 -> stage4 /32
                              |            |            |             |
                              c2           c3           c4     SPP -> c5

    A stage is a QARepVGG block of stride 2 and a CSP layer.

    While training on a CPU the feature maps are laid out channels_last, which
    takes three quarters of the time of the default and changes no number but
    by rounding.

    Args:
        arch (str | dict): ``'n'``, ``'s'``, ``'m'``, ``'l'`` or a table with the
            keys of :attr:`arch_settings`: ``stem_channels``, ``context_channels``
            and ``stages``, a sequence of four dictionaries with
            ``out_channels``, ``num_blocks``, ``hidden_channels`` and optionally
            ``concat_intermediates``, ``block`` (``'qarepvgg'`` or ``'conv'``),
            ``attention_ratio`` and ``drop_path_rate``; optional
            ``context_kernels``, default (5, 9, 13), None for no context module.
            Defaults to ``'s'``.
        in_channels (int): Channels of the image. Defaults to 3.
        out_indices (Sequence[int]): Which of (c2, c3, c4, c5) to return.
            Defaults to all.
        frozen_stages (int): Freeze the stem and that many stages; -1 for none.
            Defaults to -1.
        norm_eval (bool): Whether batch norm keeps its running statistics while
            training. Defaults to False.
        norm_cfg (dict): Normalisation. Defaults to the detection models' batch
            norm; the pose models use eps 1e-6.
        act_cfg (dict): Activation. Defaults to ReLU.
        init_cfg (dict, optional): Initialisation of the weights.
    """

    # stages from left to right: out_channels, num_blocks, hidden_channels,
    # concat_intermediates; the smallest model exists for pose only
    arch_settings = dict(
        n=dict(
            stem_channels=32,
            stages=_stages((64, 2, 32, False), (128, 3, 48, False), (256, 4, 64, False),
                           (512, 2, 128, False)),
            context_channels=512),
        s=dict(
            stem_channels=48,
            stages=_stages((96, 2, 32, False), (192, 3, 64, False), (384, 5, 96, False),
                           (768, 2, 192, False)),
            context_channels=768),
        m=dict(
            stem_channels=48,
            stages=_stages((96, 2, 64, True), (192, 3, 128, True), (384, 5, 256, True),
                           (768, 2, 384, False)),
            context_channels=768),
        l=dict(
            stem_channels=48,
            stages=_stages((96, 2, 96, True), (192, 3, 128, True), (384, 5, 256, True),
                           (768, 2, 512, True)),
            context_channels=768))

    def __init__(self,
                 arch: Union[str, dict] = 's',
                 in_channels: int = 3,
                 out_indices: Tuple[int, ...] = (0, 1, 2, 3),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: dict = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        table = pick_arch(arch, self.arch_settings, type(self).__name__)
        if len(table['stages']) != 4:
            raise ValueError(
                f'YOLONASBackbone: an architecture has 4 stages, got {len(table["stages"])}.')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)

        self.stem = nn.Sequential()
        self.stem.add_module(
            'conv',
            QARepVGGBlock(in_channels, table['stem_channels'], 2, use_residual=False, **cfg))
        channels = table['stem_channels']
        stage_channels = []
        for index, stage in enumerate(table['stages'], 1):
            out_channels = stage['out_channels']
            layer = nn.Sequential()
            layer.add_module(
                'downsample',
                QARepVGGBlock(channels, out_channels, 2, use_residual=False, **cfg))
            layer.add_module('blocks', YOLONASCSPLayer(out_channels, **stage, **cfg))
            self.add_module(f'stage{index}', layer)
            stage_channels.append(out_channels)
            channels = out_channels
        kernels = table.get('context_kernels', (5, 9, 13))
        if kernels is None:
            self.context_module = nn.Identity()
        else:
            channels = table['context_channels']
            self.context_module = SPPBottleneck(stage_channels[-1], channels, kernels, **cfg)
        self.out_channels = tuple(
            [*stage_channels[:-1], channels][index] for index in self.out_indices)
        self._freeze_stages()

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Return the feature maps of an image batch.

        Args:
            x (Tensor): Images of shape (B, in_channels, H, W), H and W
                multiples of 32.

        Returns:
            tuple[Tensor]: By default (c2, c3, c4, c5) of strides 4, 8, 16, 32.

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        height, width = x.shape[-2:]
        if not torch.jit.is_tracing() and (height % 32 or width % 32):
            raise ShapeError(
                f'YOLO-NAS needs an image whose height and width are multiples of 32, got '
                f'{height}x{width}; pad it in the pipeline or set pad_size_divisor=32 '
                'in the data_preprocessor.')
        if self.training and x.device.type == 'cpu' and not torch.jit.is_tracing():
            # the order in which oneDNN computes; every layer behind keeps it
            x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        x = self.stem(x)
        for index in range(1, 5):
            x = getattr(self, f'stage{index}')(x)
            outs.append(x)
        if 3 in self.out_indices:
            outs[-1] = self.context_module(x)
        return tuple(outs[index] for index in self.out_indices)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for name in ['stem', *(f'stage{i}' for i in range(1, self.frozen_stages + 1))]:
            module = getattr(self, name)
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'YOLONASBackbone':
        """Set training mode, leaving frozen parts in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def switch_to_deploy(self, test_cfg: OptConfig = None) -> None:
        """Fuse every re-parameterised block; idempotent."""
        fuse_blocks(self)
