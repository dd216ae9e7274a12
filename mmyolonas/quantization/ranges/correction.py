"""Two ways to lose less in 8 bit without training, after Nagel et al. 2019 (arXiv 1906.04721).

Equalisation moves factors between the channels of a convolution and those that read it, through
the ReLU between them: what the network computes stays, and a tensor with one step for all its
channels has channels of like size. Weights have a step per output channel here, so what is
balanced are the *activations'* channels against the weights that read them. Bias correction
takes the mean error that rounded weights make out of the output.
"""
from typing import Any, Dict, Iterable, List

import torch
from torch import Tensor, nn

from mmyolonas.quantization.graph.dataflow import Dataflow, analyse
from mmyolonas.quantization.graph.trace import trace
from mmyolonas.quantization.ranges.quantizers import QuantizedModel

#: A channel's factor stays within so much of the others'.
LARGEST_FACTOR = 100.


class _Inputs:
    """What some layers read, channel by channel, over all images.

    Args:
        model (nn.Module): Model whose layers are watched while it runs.
        layers (Iterable[str]): Their names.
    """

    def __init__(self, model: nn.Module, layers: Iterable[str]) -> None:
        self.largest: Dict[str, Tensor] = {}
        self.sums: Dict[str, Tensor] = {}
        self.counts: Dict[str, int] = {}
        self._hooks = [model.get_submodule(layer).register_forward_pre_hook(
            lambda _, inputs, layer=layer: self._see(layer, inputs[0])) for layer in layers]

    def _see(self, layer: str, tensor: Tensor) -> None:
        largest = tensor.abs().amax((0, 2, 3))
        self.largest[layer] = torch.maximum(self.largest.get(layer, largest), largest)
        self.sums[layer] = self.sums.get(layer, 0) + tensor.double().sum((0, 2, 3))
        self.counts[layer] = self.counts.get(layer, 0) + tensor[:, 0].numel()

    def mean(self, layer: str) -> Tensor:
        """Return the mean input of each channel."""
        return self.sums[layer] / self.counts[layer]

    def close(self) -> None:
        """Stop looking."""
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def _watch(model: nn.Module, layers: Iterable[str], images: Iterable[Tensor]) -> _Inputs:
    seen = _Inputs(model, layers)
    try:
        for image in images:
            model(image, None, mode='tensor')
    finally:
        seen.close()
    return seen


@torch.no_grad()
def equalise(fused: nn.Module, images: Iterable[Tensor]) -> int:
    """Balance the channels of tensors that stand between a ReLU and convolutions, in place.

    Args:
        fused (nn.Module): Result of :func:`mmyolonas.quantization.fuse_model`, without
            quantisers; computes the same afterwards, up to rounding.
        images (Iterable[Tensor]): Network inputs (B, 3, H, W).

    Returns:
        int: How many tensors were balanced.
    """
    flow = analyse(trace(fused))
    pairs = _pairs(fused, flow)
    seen = _watch(fused, [readers[0] for readers in pairs.values()], images)
    for maker, readers in pairs.items():
        first: Any = fused.get_submodule(maker)
        modules: List[Any] = [fused.get_submodule(reader) for reader in readers]
        weights = torch.stack([module.weight.abs().amax((0, 2, 3)) for module in modules]).amax(0)
        largest = seen.largest[readers[0]]
        alive = (largest > 0) & (weights > 0)
        factors = torch.where(alive, (largest / weights.clamp(min=1e-30)).sqrt(),
                              torch.ones_like(largest))
        middle = factors[alive].log().mean().exp() if alive.any() else 1.
        factors = torch.where(alive, (factors / middle).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR),
                              factors)
        first.weight /= factors[:, None, None, None]
        if first.bias is not None:
            first.bias /= factors
        for module in modules:
            module.weight *= factors[None, :, None, None]
    return len(pairs)


def _pairs(fused: nn.Module, flow: Dataflow) -> Dict[str, List[str]]:
    """Return the layers that alone read a layer's output, behind its ReLU, by that layer."""
    found: Dict[str, List[str]] = {}
    for name, members in flow.classes().items():
        readers = flow.readers(name)
        if members != [name] or name not in flow.layers or not readers or not (
                flow.is_nonnegative(name) and flow.is_closed(name)):
            continue
        modules = [fused.get_submodule(layer) for layer in (name, *readers)
                   if layer in flow.layers]
        if len(modules) == 1 + len(readers) and all(
                type(module) is nn.Conv2d and module.groups == 1 for module in modules) and all(
                    module.in_channels == modules[0].out_channels for module in modules[1:]):
            found[name] = readers
    return found


@torch.no_grad()
def bias_corrections(quantised: QuantizedModel,
                     images: Iterable[Tensor]) -> Dict[str, List[float]]:
    """Return what keeps the mean output of each layer when its weights are rounded.

    Args:
        quantised (QuantizedModel): Calibrated model.
        images (Iterable[Tensor]): Network inputs (B, 3, H, W).

    Returns:
        dict[str, list[float]]: By layer with a bias, for each output channel.
    """
    model = quantised.model
    with quantised.disabled():
        seen = _watch(model, quantised.weights, images)
    found = {}
    for layer, quantizer in quantised.weights.items():
        module: Any = model.get_submodule(layer)
        if module.bias is None or module.groups != 1 or quantizer.amax is None:
            continue
        weight = module._parameters['weight']
        last: Any = quantizer.maxbound
        steps = (quantizer.amax / last).clamp(min=1e-30)
        error = ((weight / steps).round().clamp(-last, last) * steps - weight).double()
        if isinstance(module, nn.ConvTranspose2d):
            if tuple(module.kernel_size) != tuple(module.stride):
                continue
            error = error.mean((2, 3)).T  # one place of the kernel makes each pixel
        else:
            error = error.sum((2, 3))
        found[layer] = (-(error @ seen.mean(layer))).float().tolist()
    return found
