"""Fake-quantisers of NVIDIA's modelopt in a model, one per tensor class and weight."""
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Collection, Dict, Iterator, List, Optional, Set

import torch
from torch import Tensor, nn

from mmyolonas.export.fusion import check_fused
from mmyolonas.quantization.graph.dataflow import Dataflow, analyse
from mmyolonas.quantization.graph.groups import default_layers
from mmyolonas.quantization.graph.selection import Selection, select
from mmyolonas.quantization.graph.trace import is_bottleneck, trace
from mmyolonas.quantization.ranges._modelopt import quantizer_module
from mmyolonas.quantization.table import RangeTable
from mmyolonas.utils import UserError

if TYPE_CHECKING:
    from modelopt.torch.quantization.nn import TensorQuantizer

#: Place in a bottleneck where the branch's quantiser stands.
BRANCH = 'drop_path'
SHORTCUT = 'shortcut'


@dataclass
class QuantizedModel:
    """A model with fake-quantisers, and where they stand.

    Args:
        model (nn.Module): The model, whose forward passes are quantised.
        flow (Dataflow): Its tensors.
        activations (dict[str, TensorQuantizer]): Quantiser of each tensor class that
            a layer or a sum reads.
        weights (dict[str, TensorQuantizer]): Quantiser of each weight.
        selection (Selection): What is quantised now.
    """
    model: nn.Module
    flow: Dataflow
    activations: Dict[str, 'TensorQuantizer']
    weights: Dict[str, 'TensorQuantizer']
    selection: Selection
    full: bool = False
    _corrections: Dict[str, Tensor] = field(default_factory=dict)
    _corrected: Set[str] = field(default_factory=set)

    def apply(self, selection: Selection) -> None:
        """Switch on the quantisers of a selection and off all others.

        Args:
            selection (Selection): What is 8 bit.
        """
        for name, quantizer in self.activations.items():
            _switch(quantizer, name in selection.classes)
        for name, quantizer in self.weights.items():
            _switch(quantizer, name in selection.layers)
        self._correct({name for name in self._corrections if name in selection.layers})
        self.selection = selection

    @torch.no_grad()
    def _correct(self, layers: Set[str]) -> None:
        """Correct the biases of these layers, and no others."""
        for name in layers ^ self._corrected:
            bias: Any = self.model.get_submodule(name).bias
            bias.add_(self._corrections[name], alpha=1 if name in layers else -1)
        self._corrected = set(layers)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Compute in float within the context.

        Yields:
            None: The selection is back behind it.
        """
        selection = self.selection
        self.apply(Selection(frozenset(), frozenset(), frozenset()))
        try:
            yield
        finally:
            self.apply(selection)

    def set_span(self, full: bool, nonnegative: Collection[str] = ()) -> None:
        """Say how many steps a tensor that cannot be negative has; 127 at first.

        Args:
            full (bool): 255, as unsigned spellings have them; else 127.
            nonnegative (Collection[str]): Tensors from outside that are never negative.
        """
        self.full = full
        for name, quantizer in self.activations.items():
            quantizer.unsigned = full and (self.flow.is_nonnegative(name) or name in nonnegative)

    def table(self, method: str = '', num_images: int = 0) -> RangeTable:
        """Return the ranges that the quantisers hold now.

        Args:
            method (str): How they were found, for the file.
            num_images (int): Images they were found on, for the file.

        Returns:
            RangeTable: Ranges of activations and weights.
        """
        activations = {name: float(quantizer.amax) for name, quantizer in
                       self.activations.items() if quantizer.amax is not None}
        weights = {name: quantizer.amax.detach().flatten().tolist()
                   for name, quantizer in self.weights.items() if quantizer.amax is not None}
        return RangeTable(activations, weights, method, num_images)

    def load(self, table: RangeTable) -> None:
        """Take over ranges.

        Args:
            table (RangeTable): Of this model.

        Raises:
            UserError: They are of another model.
        """
        table.check(self.weights)
        for name, quantizer in self.activations.items():
            if name in table.activations:
                quantizer.amax = torch.tensor(table.activations[name])
        for name, quantizer in self.weights.items():
            quantizer.amax = torch.tensor(table.weights[name]).reshape(quantizer.amax.shape)
        self._correct(set())
        self._corrections = {name: torch.tensor(values) for name, values in
                             table.corrections.items() if name in self.weights}
        self.apply(self.selection)


def _switch(quantizer: 'TensorQuantizer', on: bool) -> None:
    quantizer.enable() if on else quantizer.disable()


def quantise_model(model: nn.Module, selection: Optional[Selection] = None) -> QuantizedModel:
    """Put fake-quantisers into a fused model, in place.

    The weights' ranges are known at once (the largest absolute value of each
    output channel); the activations' ranges come from calibration, before
    which their quantisers do nothing.

    Args:
        model (nn.Module): Result of :func:`fuse_model`.
        selection (Selection, optional): What is quantised; None for every layer
            but the predictions.

    Returns:
        QuantizedModel: The model and its quantisers.

    Raises:
        ImportError: nvidia-modelopt is not installed.
        UserError: The model is not fused, or has quantisers already.
    """
    check_fused(model)
    if any(hasattr(module, 'weight_quantizer') for module in model.modules()):
        raise UserError('the model has quantisers already (they are put in place); give '
                        'quantise_model a copy of the float model.')
    flow = analyse(trace(model))
    activations = {name: _activation_quantizer() for name in flow.classes()
                   if flow.readers(name)}
    weights = {}
    for layer in flow.layers:
        weights[layer] = _convert(model, layer, activations[flow.input_class(layer)])
    for addition in flow.additions:
        site = model.get_submodule(addition.site) if addition.site else None
        if site is not None and is_bottleneck(site):
            setattr(site, SHORTCUT, activations[flow.tensor_class(addition.shortcut)])
            branch = activations[flow.tensor_class(addition.branch)]
            old = getattr(site, BRANCH)
            setattr(site, BRANCH,
                    branch if isinstance(old, nn.Identity) else nn.Sequential(old, branch))
    result = QuantizedModel(model, flow, activations, weights,
                            selection or select(flow, default_layers(flow)))
    result.apply(result.selection)
    return result


def _activation_quantizer() -> 'TensorQuantizer':
    mtq = quantizer_module()
    quantizer = mtq.nn.TensorQuantizer(
        mtq.config.QuantizerAttributeConfig(num_bits=8, axis=None, calibrator='histogram'))
    # a buffer from the start, so that a checkpoint finds its place before calibration
    quantizer.amax = torch.tensor(1.)
    return quantizer


def _convert(model: nn.Module, layer: str, activation: 'TensorQuantizer') -> 'TensorQuantizer':
    """Make a layer quantise its weight and read through ``activation``."""
    mtq = quantizer_module()
    module: Any = model.get_submodule(layer)  # becomes a module of modelopt's
    axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    converted = mtq.nn.QuantModuleRegistry.convert(module)
    if converted is not module:
        raise RuntimeError(f'{layer} was replaced instead of converted by modelopt.')
    module.input_quantizer = activation
    config = mtq.config.QuantizerAttributeConfig(
        num_bits=8, axis=axis, narrow_range=False, calibrator='max')
    module.weight_quantizer.set_from_attribute_config(config)
    module.weight_quantizer.amax = weight_ranges(module._parameters['weight'], axis)
    return module.weight_quantizer


@torch.no_grad()
def weight_ranges(weight: Tensor, axis: int) -> Tensor:
    """Return the largest absolute value per channel, with the other sides 1."""
    sides: List[int] = [side for side in range(weight.dim()) if side != axis]
    return weight.abs().amax(dim=sides, keepdim=True)
