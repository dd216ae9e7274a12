"""The computation of a torch model as a list of steps."""
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmyolonas.quantization.graph.dataflow import Op

WEIGHTED = ('conv2d', 'conv_transpose2d')
RELU = ('relu', 'relu_')
POOL = ('max_pool2d', '_max_pool2d', 'max_pool2d_with_indices')
CONCAT = ('cat', 'concat', 'concatenate')
ADD = ('add', '__add__', '__radd__', 'add_', '__iadd__')
MUL = ('mul', '__mul__', '__rmul__', 'multiply')


class _Recorder(TorchFunctionMode):
    """Record the torch functions that run within the context.

    Args:
        layers (dict[int, str]): Name of the layer by the ``id`` of its weight.
    """

    def __init__(self, layers: Dict[int, str]) -> None:
        super().__init__()
        self.layers = layers
        self.ops: List[Op] = []
        self.sites: List[str] = ['']
        self._alive: List[Any] = []  # an id is unique only while its object lives

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = getattr(func, '__name__', '')
        if isinstance(output, Tensor):
            op = self._step(name, args, kwargs, output)
            self.ops.append(op or Op('other', _tensors(args, kwargs), id(output)))
        elif isinstance(output, (tuple, list)):
            self.ops.extend(Op('other', _tensors(args, kwargs), id(part)) for part in output
                            if isinstance(part, Tensor))
        self._alive.append((args, kwargs, output))
        return output

    def _step(self, name: str, args: Sequence, kwargs: dict, output: Tensor) -> Optional[Op]:
        if name in WEIGHTED:
            weight = args[1] if len(args) > 1 else kwargs['weight']
            layer = self.layers.get(id(weight))
            return Op('weighted', (id(args[0]), ), id(output), layer) if layer else None
        if name in RELU:
            return Op('relu', (id(args[0]), ), id(output))
        if name in POOL or (name == 'interpolate' and
                            kwargs.get('mode', 'nearest') == 'nearest'):
            return Op('commute', (id(args[0]), ), id(output))
        if name in CONCAT:
            return Op('commute', tuple(map(id, args[0])), id(output))
        if name in ADD + MUL and len(args) > 1:
            return self._arithmetic(name, args[0], args[1], output)
        return None

    def _arithmetic(self, name: str, left: Any, right: Any, output: Tensor) -> Optional[Op]:
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return None
        if name in MUL:
            for factor, other in ((left, right), (right, left)):
                if isinstance(factor, nn.Parameter) and factor.numel() == 1 and factor > 0:
                    return Op('rescale', (id(other), ), id(output))
            return None
        if left.shape != right.shape:
            return None
        return Op('add', (id(left), id(right)), id(output), self.sites[-1])


def _tensors(*values: Any) -> Tuple[int, ...]:
    """Return the ids of the tensors in arguments."""
    found: List[int] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(id(value))
        elif isinstance(value, dict):
            found.extend(_tensors(*value.values()))
        elif isinstance(value, (tuple, list)):
            found.extend(_tensors(*value))
    return tuple(found)


def is_weighted(module: nn.Module) -> bool:
    """Return whether a module is a layer that can be quantised."""
    return isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))


@torch.no_grad()
def trace(model: nn.Module, image_size: int = 64) -> List[Op]:
    """Return the steps between a detector's input and its raw predictions.

    The model must not be quantised yet.

    Args:
        model (nn.Module): A detector or pose estimator of mmdet or mmpose.
        image_size (int): Side of the image that is run through it. Defaults to 64.

    Returns:
        list[Op]: The steps, in order of execution.
    """
    names = {id(module.weight): name for name, module in model.named_modules()
             if is_weighted(module)}
    recorder = _Recorder(names)
    hooks = []
    for name, module in model.named_modules():
        if is_bottleneck(module):
            hooks.append(module.register_forward_pre_hook(
                lambda _, __, name=name: recorder.sites.append(name)))
            hooks.append(module.register_forward_hook(lambda *_: recorder.sites.pop() and None))
    training = model.training
    model.eval()
    weight = next(model.parameters())
    image = torch.zeros(1, 3, image_size, image_size, device=weight.device, dtype=weight.dtype)
    try:
        with recorder:
            model(image, None, mode='tensor')
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return recorder.ops


def is_bottleneck(module: nn.Module) -> bool:
    """Return whether a module adds a shortcut in a way a quantiser can stand on."""
    return hasattr(module, 'shortcut') and hasattr(module, 'drop_path')
