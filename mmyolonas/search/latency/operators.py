"""The operators a network consists of when it runs, as far as their time is concerned.

Two ways lead to the same list. :func:`operators` calls a model's own modules with
shapes in place of tensors, which takes milliseconds and touches no weight, so that a
search may ask for thousands of architectures, built on the ``meta`` device if it likes.
:func:`mmyolonas.search.latency.operator_graph.graph_operators` reads an exported file.

Activations belong to the convolution in front of them, batch norms are folded, and
everything behind the last convolutions is one operator (``'decode'``).
"""
from dataclasses import asdict, dataclass, replace
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

import torch
from torch import nn

from mmyolonas.search.latency.exported_form import as_exported
from mmyolonas.search.latency.stand_in import StandIn, function_name
from mmyolonas.utils import UserError

#: What the fields mean beside a convolution's is said in :class:`Operator`.
KINDS = ('conv', 'deconv', 'add', 'concat', 'pool', 'resize', 'mean', 'sigmoid', 'scale',
         'rescale', 'decode', 'quantise', 'dequantise')

#: Functions that only change values: runtimes compute them with what is in front.
_FUSED = ('relu', 'relu_', 'batch_norm', 'silu', 'hardswish', 'leaky_relu', 'gelu', 'dropout',
          'contiguous', 'identity')


@dataclass(frozen=True)
class Operator:
    """One operator on one image.

    Args:
        kind (str): One of :data:`KINDS`. ``'add'`` is a sum of two maps,
            ``'scale'`` the product with a number per channel (attention),
            ``'rescale'`` that with one number (a shortcut's scale that cannot be
            folded), ``'mean'`` the mean over all pixels. ``'quantise'`` and
            ``'dequantise'`` stand where 8 bit begins and ends.
        in_channels (int): Input channels; of ``'concat'`` the sum, of ``'decode'``
            all channels of one level.
        out_channels (int): Output channels; of ``'decode'`` the numbers per prior.
        height (int): Height of the output; of ``'mean'`` of the input, of
            ``'decode'`` 1.
        width (int): Width alike; of ``'decode'`` the number of priors.
        kernel (int): Side of the kernel; of ``'decode'`` the bins of a side's
            distribution.
        stride (int): Stride.
        groups (int): Groups; of ``'concat'`` the number of inputs.
        prediction (bool): Whether the result goes to decoding; such a
            convolution stays float in full INT8.
        float_output (bool): Whether attention reads the result, which has no 8-bit
            form, so that in INT8 the result is float.
    """
    kind: str
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    prediction: bool = False
    float_output: bool = False

    @property
    def values(self) -> int:
        """int: Numbers in the output."""
        return self.out_channels * self.height * self.width

    @property
    def macs(self) -> int:
        """int: Multiplications and additions of a convolution; 0 for the others."""
        if self.kind == 'conv':
            return self.values * self.kernel**2 * (self.in_channels // self.groups)
        if self.kind == 'deconv':  # every input pixel meets the whole kernel
            pixels = self.height * self.width // self.stride**2
            return pixels * self.in_channels * (self.out_channels // self.groups) * self.kernel**2
        return 0

    @property
    def input_values(self) -> int:
        """int: Numbers that are read, weights not counted."""
        if self.kind == 'deconv':
            return self.in_channels * (self.height // self.stride) * (self.width // self.stride)
        sources = 2 if self.kind == 'add' else 1
        return sources * self.in_channels * self.height * self.width * self.stride**2

    @property
    def weights(self) -> int:
        """int: Numbers in the kernel."""
        if self.kind not in ('conv', 'deconv'):
            return 0
        return self.in_channels * self.out_channels // self.groups * self.kernel**2

    def row(self) -> list:
        """Return the fields as plain values, in order."""
        return list(asdict(self).values())


def operators(model: nn.Module, input_size: Union[int, Sequence[int]]) -> List[Operator]:
    """Return what a detector or pose estimator computes when it is exported.

    The model may have its branches or be fused, in training mode or not, and on any
    device, ``meta`` included; it is as before afterwards.

    Args:
        model (nn.Module): With ``backbone``, ``neck`` and ``bbox_head`` or ``head``.
        input_size (int | Sequence[int]): Side, or height and width, of the network
            input; multiples of 32.

    Returns:
        list[Operator]: In order of execution.

    Raises:
        UserError: The model calls a function this package has no operator for.
    """
    height, width = sides(input_size)
    head = getattr(model, 'bbox_head', None) or model.head
    recorder = _Recorder()
    with torch.no_grad(), as_exported(model):
        image = _Map(recorder, 3, height, width)
        feats = model.neck(model.backbone(image))
        maps = [level(feat) for level, feat in zip(head.levels, feats)]
    for outputs in maps:
        for output in outputs:
            recorder.mark_prediction(output)
    channels = sum(output.shape[1] for output in maps[0])
    bins = head.reg_max + 1
    priors = sum(outputs[0].shape[2] * outputs[0].shape[3] for outputs in maps)
    return [*recorder.found, decode_operator(channels, bins, priors)]


def sides(input_size: Union[int, Sequence[int]]) -> Tuple[int, int]:
    """Return height and width of a size given as one or two numbers.

    Raises:
        UserError: It is neither, or not a multiple of 32.
    """
    pair = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    if len(pair) != 2 or any(side <= 0 or side % 32 for side in pair):
        raise UserError(f'an input size is one or two positive multiples of 32, got {input_size}.')
    return pair


def decode_operator(channels: int, bins: int, priors: int) -> Operator:
    """Return the operator of decoding: 4 sides and all other channels of each prior."""
    return Operator('decode', channels, channels - 4 * bins + 4, 1, priors, kernel=bins)


def boundary_operators(network: Sequence[Operator]) -> List[Operator]:
    """Return where full INT8 begins and ends: at the image and at the predictions.

    Args:
        network (Sequence[Operator]): Of :func:`operators`; the first reads the image.
    """
    first = network[0]
    begin = Operator('quantise', first.in_channels, first.in_channels,
                     first.height * first.stride, first.width * first.stride)
    ends = [Operator('dequantise', op.in_channels, op.in_channels, op.height, op.width)
            for op in network if op.prediction]
    return [begin, *ends]


class _Recorder:
    """Collects operators while shapes pass through a model."""

    def __init__(self) -> None:
        self.found: List[Operator] = []

    def add(self, operator: Operator) -> '_Map':
        """Note an operator; return the map it makes."""
        self.found.append(operator)
        side = (1, 1) if operator.kind == 'mean' else (operator.height, operator.width)
        return _Map(self, operator.out_channels, *side, len(self.found) - 1)

    def mark_prediction(self, output: '_Map') -> None:
        """Note that a map goes to decoding."""
        self.found[output.source] = replace(self.found[output.source], prediction=True)

    def mark_float(self, *maps: '_Map') -> None:
        """Note that attention reads maps."""
        for source in (x.source for x in maps):
            if source >= 0 and self.found[source].macs:
                self.found[source] = replace(self.found[source], float_output=True)

    def convolution(self, x: '_Map', out_channels: int, kernel: int, stride: int,
                    groups: int) -> '_Map':
        """Note a convolution that keeps the side, but for its stride."""
        return self.add(Operator('conv', x.channels, out_channels, -(-x.height // stride),
                                 -(-x.width // stride), kernel, stride, groups))


class _Map(StandIn):
    """A feature map without values, which torch's functions accept as a tensor."""

    requires_grad = False

    def __init__(self, recorder: _Recorder, channels: int, height: int, width: int,
                 source: int = -1) -> None:
        self.recorder = recorder
        self.channels, self.height, self.width = channels, height, width
        self.source = source

    @property
    def shape(self) -> Tuple[int, int, int, int]:
        return 1, self.channels, self.height, self.width

    def numel(self) -> int:
        """Return the number of values."""
        return self.channels * self.height * self.width

    def __add__(self, other: Any) -> '_Map':
        return _sum(self, other)

    def __mul__(self, other: Any) -> '_Map':
        return _product(self, other)

    __radd__, __rmul__ = __add__, __mul__

    @classmethod
    def __torch_function__(cls, func: Callable, types: tuple, args: tuple = (),
                           kwargs: Any = None) -> '_Map':
        name = function_name(func)
        if name in _HANDLERS:
            return _HANDLERS[name](*args, **(kwargs or {}))
        if name in _FUSED:
            return args[0]
        raise UserError(
            f"the search has no operator for torch's {name}(): it knows the blocks of YOLO-NAS "
            'only. Build the network from those.')


def _sum(left: Any, right: Any) -> _Map:
    if not (isinstance(left, _Map) and isinstance(right, _Map)):
        raise UserError('the search has no operator for the sum of a map and a constant.')
    return left.recorder.add(Operator('add', left.channels, left.channels, left.height,
                                      left.width))


def _product(left: Any, right: Any) -> _Map:
    if not isinstance(left, _Map):
        left, right = right, left
    if not isinstance(right, _Map):  # a shortcut's scale
        return left.recorder.add(Operator('rescale', left.channels, left.channels, left.height,
                                          left.width))
    left.recorder.mark_float(left, right)
    large = max(left, right, key=_Map.numel)
    return left.recorder.add(Operator('scale', large.channels, large.channels, large.height,
                                      large.width))


def _first(value: Any) -> int:
    return value[0] if isinstance(value, (tuple, list)) else value


def _conv(x: _Map, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
          dilation: Any = 1, groups: int = 1) -> _Map:
    return x.recorder.convolution(x, weight.shape[0], weight.shape[2], _first(stride), groups)


def _deconv(x: _Map, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
            output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> _Map:
    stride = _first(stride)
    return x.recorder.add(Operator('deconv', x.channels, weight.shape[1] * groups,
                                   x.height * stride, x.width * stride, weight.shape[2], stride,
                                   groups))


def _concat(maps: Sequence[_Map], dim: int = 0) -> _Map:
    channels = sum(x.channels for x in maps)
    return maps[0].recorder.add(Operator('concat', channels, channels, maps[0].height,
                                         maps[0].width, groups=len(maps)))


def _pool(x: _Map, kernel_size: Any, stride: Any = None, *_: Any, **__: Any) -> _Map:
    kernel = _first(kernel_size)
    stride = _first(stride) or kernel
    return x.recorder.add(Operator('pool', x.channels, x.channels, -(-x.height // stride),
                                   -(-x.width // stride), kernel, stride))


def _resize(x: _Map, size: Any = None, scale_factor: Any = None, *_: Any, **__: Any) -> _Map:
    factor = _first(scale_factor) if size is None else _first(size) / x.height
    return x.recorder.add(Operator('resize', x.channels, x.channels, int(x.height * factor),
                                   int(x.width * factor)))


def _mean(x: _Map, *_: Any, **__: Any) -> _Map:
    x.recorder.mark_float(x)
    return x.recorder.add(Operator('mean', x.channels, x.channels, x.height, x.width))


def _sigmoid(x: _Map) -> _Map:
    x.recorder.mark_float(x)
    return x.recorder.add(Operator('sigmoid', x.channels, x.channels, x.height, x.width))


_HANDLERS: Dict[str, Callable[..., _Map]] = dict(
    conv2d=_conv, conv_transpose2d=_deconv, cat=_concat, max_pool2d=_pool, interpolate=_resize,
    adaptive_avg_pool2d=_mean, sigmoid=_sigmoid, add=_sum, radd=_sum, mul=_product, rmul=_product)
