"""Maximum entropy of an untrained detector, without any data or weight.

A network whose weights are drawn from N(0, 1) and that has no normalisation makes
feature maps that are nearly Gaussian; their entropy is the logarithm of their
variance (Sun et al., MAE-DET: Revisiting Maximum Entropy Principle in Zero-Shot NAS
for Efficient Object Detection, ICML 2022, https://arxiv.org/abs/2111.13336). The
variances are not sampled but carried through the model's own modules:

* convolution: times its fan-in; transposed: times the kernel positions that meet;
* ReLU: half of the second moment of a symmetric value;
* sum of independent maps: sum; concatenation: mean over the channels;
* pooling, normalisation: unchanged; attention: times sigmoid(0) squared.
"""
import math
from typing import Any, Sequence

import torch
from torch import nn

from mmyolonas.search.latency.stand_in import StandIn, function_name

#: Weights of the maps of stride 8, 16 and 32 (section 4.2 of the paper).
LEVEL_WEIGHTS = (1., 1., 6.)


class Moment(StandIn):
    """The logarithm of a feature map's second moment, in place of the map.

    Torch's functions accept it as a tensor.

    Args:
        channels (int): Channels of the map.
        log (float): Natural logarithm of the mean of the squared values.
    """

    def __init__(self, channels: int, log: float = 0.) -> None:
        self.channels, self.log = channels, log

    @property
    def shape(self) -> Sequence[int]:
        """Sequence[int]: As of a tensor; the side does not matter, borders are left out."""
        return 1, self.channels, 64, 64

    def __getitem__(self, _: Any) -> 'Moment':
        return self  # every other pixel has the same moment

    def __add__(self, other: 'Moment') -> 'Moment':
        return Moment(self.channels, _log_sum(self.log, other.log))

    def __mul__(self, other: Any) -> 'Moment':
        if not isinstance(other, Moment):  # a shortcut's scale, 1 at first
            return self
        return Moment(self.channels, self.log + other.log)

    __rmul__ = __mul__

    @classmethod
    def __torch_function__(cls, func: Any, types: tuple, args: tuple = (),
                           kwargs: Any = None) -> 'Moment':
        name = function_name(func)
        if name in ('mul', 'rmul') and not isinstance(args[0], Moment):
            args = args[::-1]
        if name not in _RULES:
            raise NotImplementedError(f'maximum entropy knows no rule for {name}().')
        return _RULES[name](*args, **(kwargs or {}))


def _log_sum(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _conv(x: Moment, weight: Any, *_: Any, **__: Any) -> Moment:
    return Moment(weight.shape[0], x.log + math.log(math.prod(weight.shape[1:])))


def _deconv(x: Moment, weight: Any, bias: Any = None, stride: Any = 1, *_: Any) -> Moment:
    stride = stride[0] if isinstance(stride, (tuple, list)) else stride
    meeting = weight.shape[0] * max(1., (weight.shape[2] / stride)**2)
    return Moment(weight.shape[1], x.log + math.log(meeting))


def _concat(maps: Sequence[Moment], *_: Any, **__: Any) -> Moment:
    channels = sum(x.channels for x in maps)
    largest = max(x.log for x in maps)
    mean = sum(x.channels * math.exp(x.log - largest) for x in maps) / channels
    return Moment(channels, largest + math.log(mean))


def _same(x: Moment, *_: Any, **__: Any) -> Moment:
    return x


def _relu(x: Moment, *_: Any, **__: Any) -> Moment:
    return Moment(x.channels, x.log - math.log(2))


def _gate(x: Moment, *_: Any, **__: Any) -> Moment:
    return Moment(x.channels, math.log(0.25))


_RULES = dict(
    conv2d=_conv, conv_transpose2d=_deconv, cat=_concat, relu=_relu, batch_norm=_same,
    max_pool2d=_same, adaptive_avg_pool2d=_same, sigmoid=_gate, add=Moment.__add__,
    mul=Moment.__mul__, rmul=Moment.__mul__)


def entropy(model: nn.Module) -> float:
    """Return the weighted sum of the neck outputs' log variances.

    Args:
        model (nn.Module): Detector or pose estimator with ``backbone`` and ``neck``,
            on any device, ``meta`` included; its mode is kept.
    """
    modes = [module for module in model.modules() if module.training]
    try:
        for module in modes:
            module.training = False
        with torch.no_grad():
            outputs = model.neck(model.backbone(Moment(3)))
    finally:
        for module in modes:
            module.training = True
    return sum(weight * output.log for weight, output in zip(LEVEL_WEIGHTS, outputs))
