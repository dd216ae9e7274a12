"""Folding a model into plain convolutions before it is quantised."""
import copy

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmyolonas.models.layers import QARepVGGBlock
from mmyolonas.models.utils import fold_norm
from mmyolonas.utils import UserError

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def fuse_model(model: nn.Module) -> nn.Module:
    """Return a copy whose blocks are convolution and activation alone.

    QARepVGG blocks become one convolution; batch norms behind convolutions are
    folded into them (in double precision). Ranges found with branches or norms
    in place would belong to tensors that the exported graph does not have.

    Args:
        model (nn.Module): Detector or pose estimator; it stays as it is.

    Returns:
        nn.Module: Fused copy in evaluation mode, trainable.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        if isinstance(module, QARepVGGBlock):
            module.switch_to_deploy()
        elif isinstance(module, ConvModule) and isinstance(module.norm, nn.BatchNorm2d):
            _fold_norm(module)
    model.requires_grad_(True)
    check_fused(model)
    return model


@torch.no_grad()
def _fold_norm(module: ConvModule) -> None:
    conv = module.conv
    bias = None if conv.bias is None else conv.bias.double()
    weight, bias = fold_norm(conv.weight.double(), bias, module.norm)
    conv.weight.copy_(weight.float())
    conv.bias = nn.Parameter(bias.to(conv.weight))
    setattr(module, module.norm_name, nn.Identity())


def check_fused(model: nn.Module) -> None:
    """Raise if a model still has norms or branches.

    Raises:
        UserError: It has, with the name of the first.
    """
    for name, module in model.named_modules():
        if isinstance(module, _NORMS) or (
                isinstance(module, QARepVGGBlock) and not module.is_fused):
            raise UserError(f'{name} ({type(module).__name__}) is not fused; quantise the result '
                            'of mmyolonas.quantization.fuse_model(model).')
