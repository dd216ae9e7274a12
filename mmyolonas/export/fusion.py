"""Preparing a model for export: fusing blocks, folding the shortcuts' scales."""
import copy

import torch
from torch import nn

from mmyolonas.models.layers import ConvNormAct, QARepVGGBlock, YOLONASBottleneck, YOLONASCSPLayer


def prepare_model(model: nn.Module, fold_shortcuts: bool = True) -> nn.Module:
    """Return a fused copy of a model, on the CPU and in evaluation mode.

    Args:
        model (nn.Module): Detector or pose estimator; it stays as it is.
        fold_shortcuts (bool): See :func:`fold_shortcut_scales`.

    Returns:
        nn.Module: The copy.
    """
    model = copy.deepcopy(model).cpu().eval()
    for module in list(model.modules()):
        if isinstance(module, QARepVGGBlock):
            module.switch_to_deploy()
    if fold_shortcuts:
        fold_shortcut_scales(model)
    return model.requires_grad_(False)


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
    bottlenecks = list(layer.bottlenecks)
    if not bottlenecks or not all(map(_is_foldable, bottlenecks)):
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


def _is_foldable(bottleneck: YOLONASBottleneck) -> bool:
    if not isinstance(bottleneck.drop_path, nn.Identity) and bottleneck.training:
        return False
    if type(bottleneck.shortcut) is not nn.Identity or not bottleneck.alpha.item() > 1e-3:
        return False
    return all(_is_plain(block) for block in (bottleneck.cv1, bottleneck.cv2))


def _is_plain(block: nn.Module) -> bool:
    if isinstance(block, QARepVGGBlock):
        return (block.is_fused and isinstance(block.post_bn, nn.Identity)
                and isinstance(block.act, nn.ReLU) and isinstance(block.attention, nn.Identity)
                and type(block.rbr_reparam) is nn.Conv2d)
    return (isinstance(block, ConvNormAct) and type(block.conv) is nn.Conv2d
            and isinstance(getattr(block, 'activate', None), nn.ReLU))


def _convolution(block: nn.Module) -> nn.Conv2d:
    return block.rbr_reparam if isinstance(block, QARepVGGBlock) else block.conv


def _scale_output(block: nn.Module, factor: float) -> None:
    """Scale what a block's convolution and norm give, ahead of the ReLU."""
    last = _convolution(block)
    if (not isinstance(block, QARepVGGBlock) and block.with_norm
            and not isinstance(block.norm, nn.Identity)):  # not folded before
        last = block.norm
    for parameter in (last.weight, last.bias):
        if parameter is not None:
            parameter.copy_((parameter.double() * factor).float())
