"""The architecture behind a state dict, read off the shapes of its tensors."""
from dataclasses import dataclass
from typing import Dict, Mapping

import torch
from torch import Tensor, nn

from mmyolonas.model_converters.blocks import BlockInfo
from mmyolonas.model_converters.names import HEADS, kind_of
from mmyolonas.models.backbones import YOLONASBackbone
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.layers import QARepVGGBlock
from mmyolonas.models.necks import YOLONASPAN
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.utils.errors import UserError

#: Widths of the detection heads of the published sizes.
_FEAT_CHANNELS = dict(s=(64, 128, 256), m=(96, 192, 384), l=(128, 256, 512))
#: Epsilon of all batch norms by kind; it is not stored (reference.md 2.8).
BN_EPS = dict(detection=1e-3, pose=1e-6)


@dataclass
class Architecture:
    """What a YOLO-NAS is made of.

    Args:
        kind: 'detection' or 'pose'.
        name: 'n', 's', 'm', 'l', or 'custom'.
        backbone, neck, head: Arguments of the classes.
        outputs: Number of classes or key points.
    """
    kind: str
    name: str
    backbone: dict
    neck: dict
    head: dict
    outputs: int

    def build(self) -> nn.Module:
        """Return backbone, neck and head without memory (on the meta device)."""
        model = nn.Module()
        norm_cfg = dict(type='BN', eps=BN_EPS[self.kind], momentum=0.03)
        with torch.device('meta'):
            model.backbone = YOLONASBackbone(norm_cfg=norm_cfg, **self.backbone)
            model.neck = YOLONASPAN(norm_cfg=norm_cfg, **self.neck)
            head = YOLONASPoseHead if self.kind == 'pose' else YOLONASHead
            extra = dict(sigmas=0.05) if self.kind == 'pose' else {}
            model.add_module(
                HEADS[self.kind], head(self.outputs, norm_cfg=norm_cfg, **self.head, **extra))
        return model


def block_infos(model: nn.Module) -> Dict[str, BlockInfo]:
    """Return what is to know about each QARepVGG block, by prefix with final dot."""
    return {
        f'{name}.': BlockInfo(module.use_residual, module.branch_3x3.bn.eps)
        for name, module in model.named_modules() if isinstance(module, QARepVGGBlock)
    }


def infer_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """Return the architecture of a state dict with our names, in any fused form.

    Raises:
        UserError: It is not YOLO-NAS's.
    """
    try:
        return _Reader(state).read()
    except KeyError as error:
        raise UserError(
            f'the state dict is not that of a YOLO-NAS: it has no {error.args[0]}.') from error


class _Reader:

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.shapes = {key: tuple(value.shape) for key, value in state.items()}

    def kernel(self, prefix: str) -> tuple:
        """Return the kernel's shape of a convolution or block."""
        for name in ('conv.weight', 'branch_3x3.conv.weight', 'rbr_reparam.weight', 'weight'):
            if f'{prefix}.{name}' in self.shapes:
                return self.shapes[f'{prefix}.{name}']
        raise KeyError(f'{prefix}.conv.weight')

    def count(self, prefix: str) -> int:
        """Return the number of children with a number for a name."""
        start = len(prefix) + 1
        return len({key[start:].split('.')[0] for key in self.shapes
                    if key.startswith(f'{prefix}.')})

    def csp(self, prefix: str) -> dict:
        """Return the table of a CSP layer."""
        hidden = self.kernel(f'{prefix}.conv1')[0]
        out, joined = self.kernel(f'{prefix}.conv3')[:2]
        num = self.count(f'{prefix}.bottlenecks')
        stage = dict(out_channels=out, num_blocks=num, hidden_channels=hidden,
                     concat_intermediates=num > 0 and joined == (num + 2) * hidden)
        if num and f'{prefix}.bottlenecks.0.cv1.conv.weight' in self.shapes:
            stage['block'] = 'conv'
        return stage

    def backbone(self) -> dict:
        stages = tuple(self.csp(f'backbone.stage{i}.blocks') for i in range(1, 5))
        stem, channels = self.kernel('backbone.stem.conv')[:2]
        table = dict(stem_channels=stem, stages=stages)
        hidden, joined = (self.kernel(f'backbone.context_module.cv{i}')[i - 1] for i in (1, 2))
        table['context_channels'] = self.kernel('backbone.context_module.cv2')[0]
        if joined != 4 * hidden:
            raise KeyError('context module with pools of 5, 9 and 13')
        return dict(arch=table, in_channels=channels)

    def neck(self) -> dict:
        stages = []
        for index in range(1, 5):
            stage = self.csp(f'neck.neck{index}.blocks')
            stage.pop('concat_intermediates')
            stage.setdefault('block', 'qarepvgg')
            if stage['block'] == ('qarepvgg' if index < 3 else 'conv'):
                stage.pop('block')
            stages.append(stage)
        channels = (self.kernel('neck.neck2.reduce_skip2')[1],
                    self.kernel('neck.neck1.reduce_skip2')[1],
                    self.kernel('neck.neck1.reduce_skip1')[1], self.kernel('neck.neck1.conv')[1])
        return dict(arch=dict(in_channels=channels, stages=tuple(stages)))

    def head(self, kind: str) -> dict:
        prefix = f'{HEADS[kind]}.levels'
        levels = [f'{prefix}.{i}' for i in range(self.count(prefix))]
        stem = 'bbox_stem' if kind == 'pose' else 'stem'
        head = dict(
            in_channels=tuple(self.kernel(f'{level}.{stem}')[1] for level in levels),
            feat_channels=tuple(self.kernel(f'{level}.{stem}')[0] for level in levels),
            strides=tuple(8 * 2**i for i in range(len(levels))),
            reg_max=self.kernel(f'{prefix}.0.reg_pred')[0] // 4 - 1)
        convs = tuple(self.count(f'{level}.cls_convs') for level in levels)
        if kind == 'pose':
            head.update(
                num_bbox_convs=convs,
                pose_channels=tuple(self.kernel(f'{level}.pose_stem')[0] for level in levels),
                num_pose_convs=tuple(self.count(f'{level}.pose_convs') for level in levels))
        else:
            head['num_convs'] = convs[0]
        return head

    def read(self) -> Architecture:
        kind = kind_of(self.shapes)
        backbone, neck, head = self.backbone(), self.neck(), self.head(kind)
        outputs = self.kernel(f'{HEADS[kind]}.levels.0.cls_pred')[0] - (kind == 'pose')
        name = 'custom'
        for size, table in YOLONASBackbone.arch_settings.items():
            if kind == 'pose':
                known = YOLONASPoseHead.arch_settings[size]['feat_channels']
            else:
                known = _FEAT_CHANNELS.get(size)
            if (_same(backbone['arch'], table)
                    and _same(neck['arch'], YOLONASPAN.arch_settings[size])
                    and head['feat_channels'] == known):
                name = size
        return Architecture(kind, name, backbone, neck, head, outputs)


def _same(given: dict, published: dict) -> bool:
    """Whether an architecture table equals a published one."""
    stages = [{**stage, 'concat_intermediates': stage.get('concat_intermediates', False)}
              for stage in published['stages']]
    mine = [{**stage, 'concat_intermediates': stage.get('concat_intermediates', False)}
            for stage in given['stages']]
    return mine == stages and all(
        given[key] == value for key, value in published.items() if key != 'stages')
