"""What export folds: blocks and norms into convolutions, the shortcuts' scales into neighbours."""
import copy
from typing import Any, List, cast

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmyolonas.models.layers import (
    ConvNormAct,
    QARepVGGBlock,
    YOLONASBottleneck,
    YOLONASCSPLayer,
    fuse_blocks,
)
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

    Raises:
        UserError: Something of the model cannot be fused.
    """
    model = _fuse(copy.deepcopy(model))
    check_fused(model)
    return model.requires_grad_(True)


def prepare_model(model: nn.Module, fold_shortcuts: bool = True) -> nn.Module:
    """Return a fused copy of a model for export, on the CPU and in evaluation mode.

    What cannot be fused (another detector's group norms) stays.

    Args:
        model (nn.Module): Detector or pose estimator; it stays as it is.
        fold_shortcuts (bool): See :func:`fold_shortcut_scales`.

    Returns:
        nn.Module: The copy.
    """
    model = _fuse(copy.deepcopy(model).cpu())
    if fold_shortcuts:
        fold_shortcut_scales(model)
    return model.requires_grad_(False)


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


def _fuse(model: nn.Module) -> nn.Module:
    fuse_blocks(model.eval())
    for module in model.modules():
        if isinstance(module, ConvModule) and _norm_folds(module):
            _fold_norm(module)
    return model


def _norm_folds(module: ConvModule) -> bool:
    """Return whether a norm with running statistics directly follows a plain convolution."""
    norm, order = module.norm, module.order
    return (type(module.conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d)
            and norm.running_var is not None and norm.weight is not None
            and order.index('norm') == order.index('conv') + 1)


@torch.no_grad()
def _fold_norm(module: ConvModule) -> None:
    conv = module.conv
    bias = None if conv.bias is None else conv.bias.double()
    weight, bias = fold_norm(conv.weight.double(), bias, module.norm)
    conv.weight.copy_(weight.float())
    conv.bias = nn.Parameter(bias.to(conv.weight))
    setattr(module, module.norm_name, nn.Identity())


def fold_shortcut_scales(model: nn.Module) -> int:
    """Move the bottlenecks' learnt scales into the neighbouring convolutions.

    A bottleneck computes ``a' = alpha * a + f(a)``. With ``b = a / s`` and
    ``s' = s * alpha`` this is ``b' = b + f(s * b) / s'``: the scales go into
    the first convolution's input, the last one's output (its ReLU lets a
    positive factor pass) and the input of the convolution that joins the
    branches. The result is the same up to rounding, the multiplication is gone
    and the shortcut is a plain addition, which runtimes fuse.

    Layers whose scale is not positive, whose activation is not ReLU or that
    have attention are left alone, as are unfused ones.

    Args:
        model (nn.Module): Fused model, changed in place.

    Returns:
        int: Number of scales folded.
    """
    return sum(_fold_layer(layer) for layer in model.modules()
               if isinstance(layer, YOLONASCSPLayer))


@torch.no_grad()
def _fold_layer(layer: YOLONASCSPLayer) -> int:
    bottlenecks = _bottlenecks(layer)
    if not bottlenecks or not shortcuts_fold(layer) or not all(
            _is_one_convolution(block) for bottleneck in bottlenecks
            for block in (bottleneck.cv1, bottleneck.cv2)):
        return 0
    scale, scales = 1., [1.]
    for bottleneck in bottlenecks:
        first, last = _convolution(bottleneck.cv1), bottleneck.cv2
        first.weight.copy_((first.weight.double() * scale).float())
        scale = scale * bottleneck.alpha.double().item()
        _scale_output(last, 1 / scale)
        bottleneck.alpha.fill_(1)
        scales.append(scale)
    joined = scales if layer.concat_intermediates else scales[-1:]
    weight = layer.conv3.conv.weight
    hidden = layer.conv1.out_channels
    for index, factor in enumerate(joined):
        part = weight[:, index * hidden:(index + 1) * hidden]
        part.copy_((part.double() * factor).float())
    return len(bottlenecks)


def _bottlenecks(layer: YOLONASCSPLayer) -> List[YOLONASBottleneck]:
    return cast(List[YOLONASBottleneck], list(layer.bottlenecks))


def shortcuts_fold(layer: nn.Module) -> bool:
    """Return whether export folds the scales of a layer's shortcuts, once blocks are fused.

    Args:
        layer (nn.Module): Any module, fused or not; on the ``meta`` device scales
            count as positive.
    """
    return isinstance(layer, YOLONASCSPLayer) and all(
        map(_shortcut_folds, _bottlenecks(layer)))


def _shortcut_folds(bottleneck: YOLONASBottleneck) -> bool:
    if not isinstance(bottleneck.drop_path, nn.Identity) and bottleneck.training:
        return False
    alpha = bottleneck.alpha
    return (type(bottleneck.shortcut) is nn.Identity
            and (alpha.is_meta or alpha.item() > 1e-3)
            and all(map(_passes_scale, (bottleneck.cv1, bottleneck.cv2))))


def _passes_scale(block: nn.Module) -> bool:
    """Return whether a positive factor passes a block: one convolution and ReLU."""
    if isinstance(block, QARepVGGBlock):
        return isinstance(block.act, nn.ReLU) and isinstance(block.attention, nn.Identity)
    return (isinstance(block, ConvNormAct) and type(block.conv) is nn.Conv2d
            and isinstance(getattr(block, 'activate', None), nn.ReLU))


def _is_one_convolution(block: nn.Module) -> bool:
    """Return whether a block has its final form (other blocks never had branches)."""
    return not isinstance(block, QARepVGGBlock) or (
        block.is_fused and isinstance(block.post_bn, nn.Identity)
        and type(block.rbr_reparam) is nn.Conv2d)


def _convolution(block: nn.Module) -> nn.Conv2d:
    return cast(nn.Conv2d, block.rbr_reparam if isinstance(block, QARepVGGBlock) else block.conv)


def _scale_output(block: nn.Module, factor: float) -> None:
    """Scale what a block's convolution and norm give, ahead of the ReLU."""
    last: Any = _convolution(block)  # or the norm behind it, of whichever kind
    if (not isinstance(block, QARepVGGBlock) and block.with_norm
            and not isinstance(block.norm, nn.Identity)):  # not folded before
        last = block.norm
    for parameter in (last.weight, last.bias):
        if parameter is not None:
            parameter.copy_((parameter.double() * factor).float())
