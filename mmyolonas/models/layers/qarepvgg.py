"""QARepVGG: a re-parameterised block that survives 8-bit quantisation."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from mmyolonas.models.utils import OptConfig, fold_norm


class QARepVGGBlock(BaseModule):
    """QARepVGG block (`arXiv:2212.01593 <https://arxiv.org/abs/2212.01593>`_).

    While training the block computes::

        y = SE(act(BN_post(BN_3x3(W3 * x) + alpha * (W1 * x + b1) + x)))

    Unlike RepVGG only the 3x3 branch is normalised; a batch norm after the sum
    takes the place of the other two. This keeps the weights of the fused
    convolution in a range that 8 bits can hold.

    The block has three forms, told apart by the modules it holds:

    * unfused: ``branch_3x3``, ``branch_1x1`` and ``post_bn``;
    * partially fused (:meth:`fuse_partial`): ``rbr_reparam`` and ``post_bn``;
    * fully fused (:meth:`switch_to_deploy`): ``rbr_reparam`` alone.

    Deviations from SuperGradients: the fused convolution is created when it is
    needed, so an unfused block carries no dead parameters; and the identity is
    added to the 1x1 kernel instead of to the feature map, which is the same
    number up to rounding and saves a pass over memory.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        stride (int): Stride of both convolutions. Defaults to 1.
        dilation (int): Dilation (and padding) of the 3x3 one. Defaults to 1.
        groups (int): Groups of both convolutions. Defaults to 1.
        use_residual (bool, optional): Whether to add the input. None means
            wherever shapes allow it. Defaults to None.
        use_alpha (bool): Whether the 1x1 branch has a learnt scale of shape
            (1,), initially ``1 + 0.01 * N(0, 1)``. Defaults to False.
        use_1x1_bias (bool): Whether the 1x1 branch has a bias. Defaults to True.
        use_post_bn (bool): Whether the sum is normalised. Defaults to True.
        attention_ratio (float, optional): Squeeze channels over output
            channels of a squeeze-and-excitation after the activation; None for
            no attention. Defaults to None.
        norm_cfg (dict): Normalisation. Defaults to batch norm as in YOLO-NAS.
        act_cfg (dict, optional): Activation. Defaults to ReLU.
        init_cfg (dict, optional): Initialisation of the weights.

    Raises:
        ValueError: ``use_residual`` is True but the shapes differ.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 stride: int = 1,
                 dilation: int = 1,
                 groups: int = 1,
                 use_residual: Optional[bool] = None,
                 use_alpha: bool = False,
                 use_1x1_bias: bool = True,
                 use_post_bn: bool = True,
                 attention_ratio: Optional[float] = None,
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: OptConfig = dict(type='ReLU'),
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        same_shape = in_channels == out_channels and stride == 1
        if use_residual and not same_shape:
            raise ValueError(
                'QARepVGGBlock: the identity branch needs equal channels and stride 1, got '
                f'{in_channels} -> {out_channels} channels and stride {stride}; '
                'set use_residual=False or None.')
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.use_residual = same_shape if use_residual is None else use_residual

        self.branch_3x3 = nn.Sequential()
        self.branch_3x3.add_module(
            'conv',
            nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups,
                      bias=False))
        self.branch_3x3.add_module('bn', build_norm_layer(norm_cfg, out_channels)[1])
        self.branch_1x1 = nn.Conv2d(
            in_channels, out_channels, 1, stride, 0, 1, groups, bias=use_1x1_bias)
        self.alpha = nn.Parameter(1 + 0.01 * torch.randn(1)) if use_alpha else 1.0
        if self.use_residual:
            # (C, C / groups, 1, 1); derived from the shape, so not in the state dict
            channels = torch.arange(out_channels)
            identity = torch.zeros(out_channels, in_channels // groups, 1, 1)
            identity[channels, channels % (in_channels // groups)] = 1
            self.register_buffer('identity_kernel', identity, persistent=False)
        self.post_bn = build_norm_layer(norm_cfg, out_channels)[1] if use_post_bn else \
            nn.Identity()
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()
        self.attention = nn.Identity() if attention_ratio is None else SqueezeExcitation(
            out_channels, max(1, int(out_channels * attention_ratio)))

    @property
    def is_fused(self) -> bool:
        """bool: Whether the branches are one convolution (either fused form)."""
        return hasattr(self, 'rbr_reparam')

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y = self.rbr_reparam(x) if self.is_fused else self.branch_3x3(x) + self._branch_1x1(x)
        return self.attention(self.act(self.post_bn(y)))

    def _branch_1x1(self, x: Tensor) -> Tensor:
        """Return the sum of the 1x1 branch and the identity."""
        kernel, bias = self._pointwise()
        stride = self.stride
        if stride > 1 and self.in_channels < 16:
            # oneDNN's gradient of a strided 1x1 kernel on few channels in
            # channels_last reads out of bounds and crashes (seen with torch
            # 2.14); leaving pixels out first is the same and cheap on so few
            x, stride = x[..., ::stride, ::stride], 1
        return F.conv2d(x, kernel, bias, stride, groups=self.groups)

    def _pointwise(self) -> Tuple[Tensor, Optional[Tensor]]:
        """Return kernel and bias of the 1x1 branch with scale and identity merged in."""
        kernel, bias = self.branch_1x1.weight, self.branch_1x1.bias
        if isinstance(self.alpha, Tensor):
            kernel = kernel * self.alpha
            bias = None if bias is None else bias * self.alpha
        if self.use_residual:
            kernel = kernel + self.identity_kernel
        return kernel, bias

    @torch.no_grad()
    def fuse_partial(self) -> None:
        """Merge the branches into one biased 3x3 convolution; keep ``post_bn``.

        Does nothing if the block is fused already. The sums are formed in
        double precision.
        """
        if self.is_fused:
            return
        conv = self.branch_3x3.conv
        kernel, bias = fold_norm(conv.weight.double(), None, self.branch_3x3.bn)
        kernel_1x1, bias_1x1 = self._pointwise()
        kernel += F.pad(kernel_1x1.double(), [1, 1, 1, 1])
        if bias_1x1 is not None:
            bias += bias_1x1.double()
        self._set_reparam(kernel, bias)
        for name in ('branch_3x3', 'branch_1x1', 'alpha', 'identity_kernel'):
            if hasattr(self, name):
                delattr(self, name)

    @torch.no_grad()
    def switch_to_deploy(self, test_cfg: OptConfig = None) -> None:
        """Fuse the whole block into one convolution and its activation.

        Idempotent. ``test_cfg`` is accepted because mmpose passes one; it is
        not used.
        """
        self.fuse_partial()
        if not isinstance(self.post_bn, nn.Identity):
            reparam = self.rbr_reparam
            kernel, bias = fold_norm(
                reparam.weight.double(), reparam.bias.double(), self.post_bn)
            self._set_reparam(kernel, bias)
            self.post_bn = nn.Identity()
        for parameter in self.rbr_reparam.parameters():
            parameter.requires_grad_(False)

    def _set_reparam(self, kernel: Tensor, bias: Tensor) -> None:
        reference = next(self.parameters())
        conv = nn.Conv2d(
            self.in_channels, self.out_channels, 3, self.stride, self.dilation, self.dilation,
            self.groups, device='meta')
        conv.weight = nn.Parameter(kernel.to(reference))
        conv.bias = nn.Parameter(bias.to(reference))
        self.rbr_reparam = conv.train(self.training)


def fuse_blocks(model: nn.Module) -> None:
    """Fuse every QARepVGG block of a model, in place; idempotent."""
    for module in list(model.modules()):
        if isinstance(module, QARepVGGBlock):
            module.switch_to_deploy()
