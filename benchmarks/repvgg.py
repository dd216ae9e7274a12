"""Plain RepVGG blocks in YOLO-NAS, the peer of the 8-bit experiment."""
import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

import mmyolonas  # noqa: F401
from mmyolonas.models.detectors import YOLONAS
from mmyolonas.models.layers import QARepVGGBlock
from mmyolonas.models.utils import fold_norm
from mmyolonas.registry import MODELS


class RepVGGBlock(QARepVGGBlock):
    """RepVGG (`arXiv:2101.03697 <https://arxiv.org/abs/2101.03697>`_), fused and quantised alike.

    A batch norm in every branch, the identity's too, and none behind the sum.

    Args:
        block (QARepVGGBlock): Its shape and activation are taken.
        norm_cfg (dict): Normalisation.
    """

    def __init__(self, block: QARepVGGBlock, norm_cfg: dict) -> None:
        super().__init__(
            block.in_channels, block.out_channels, block.stride, block.dilation, block.groups,
            block.use_residual, use_1x1_bias=False, use_post_bn=False, norm_cfg=norm_cfg)
        self.bn_1x1 = build_norm_layer(norm_cfg, self.out_channels)[1]
        if self.use_residual:
            self.bn_identity = build_norm_layer(norm_cfg, self.out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        if self.is_fused:
            return super().forward(x)
        # the strided 1x1 kernel by leaving pixels out: see QARepVGGBlock
        pixels = x[..., ::self.stride, ::self.stride]
        y = self.branch_3x3(x) + self.bn_1x1(
            nn.functional.conv2d(pixels, self.branch_1x1.weight, groups=self.groups))
        if self.use_residual:
            y = y + self.bn_identity(x)
        return self.act(y)

    @torch.no_grad()
    def fuse_partial(self) -> None:
        """Merge the branches and their norms into one convolution."""
        if self.is_fused:
            return
        kernel, bias = fold_norm(self.branch_3x3.conv.weight.double(), None, self.branch_3x3.bn)
        branches = [(self.branch_1x1.weight, self.bn_1x1)]
        if self.use_residual:
            branches.append((self.identity_kernel, self.bn_identity))
        for pointwise, norm in branches:
            pointwise, shift = fold_norm(pointwise.double(), None, norm)
            kernel += nn.functional.pad(pointwise, [1, 1, 1, 1])
            bias += shift
        self._set_reparam(kernel, bias)
        for name in ('branch_3x3', 'branch_1x1', 'identity_kernel', 'bn_1x1', 'bn_identity'):
            if hasattr(self, name):
                delattr(self, name)


@MODELS.register_module()
class RepVGGYOLONAS(YOLONAS):
    """YOLO-NAS whose QARepVGG blocks are RepVGG blocks."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is QARepVGGBlock:
                    norm = child.branch_3x3.bn
                    norm_cfg = dict(type='BN', momentum=norm.momentum, eps=norm.eps)
                    setattr(parent, name, RepVGGBlock(child, norm_cfg))
