"""Which layers and tensors are 8 bit."""
from dataclasses import dataclass
from typing import FrozenSet, Iterable

from mmyolonas.quantization.graph.dataflow import Dataflow
from mmyolonas.utils import UserError


@dataclass(frozen=True)
class Selection:
    """What is quantised: decided per layer, which decides the tensors.

    Args:
        layers (frozenset[str]): Weighted layers with 8-bit weights.
        additions (frozenset[str]): Sums of 8-bit tensors.
        classes (frozenset[str]): Tensor classes held in 8 bit.
    """
    layers: FrozenSet[str]
    additions: FrozenSet[str]
    classes: FrozenSet[str]


def select(flow: Dataflow, layers: Iterable[str]) -> Selection:
    """Return what is 8 bit if these layers are.

    A sum is 8 bit if the layer that makes its later input (the branch) is. A
    tensor is 8 bit if an 8-bit layer reads it, or an 8-bit sum as its shortcut, or if an
    8-bit layer or sum makes it and another reads it: ONNX Runtime's integer kernels exist in
    that form only, and in YOLO-NAS, where the ReLU comes before the addition, a convolution
    cannot absorb the addition in TensorRT either.

    Args:
        flow (Dataflow): The model's tensors.
        layers (Iterable[str]): 8-bit layers.

    Returns:
        Selection: Layers, sums and tensor classes that are 8 bit.

    Raises:
        UserError: A layer the model does not have.
    """
    chosen = frozenset(layers)
    unknown = sorted(chosen - set(flow.layers))
    if unknown:
        raise UserError(
            f'the plan is for another model: it has no layer {unknown[0]}'
            + (f' (nor {len(unknown) - 1} others)' if len(unknown) > 1 else '')
            + '. Make a plan for this one with tools/quantize.py.')
    additions = [add for add in flow.additions if add.branch in chosen]
    classes = {flow.input_class(layer) for layer in chosen}
    for add in additions:
        classes.add(flow.tensor_class(add.shortcut))
        classes.add(flow.tensor_class(add.name))
    classes.update(flow.output_class(layer) for layer in chosen)
    read = frozenset(name for name in classes if flow.readers(name))
    return Selection(chosen, frozenset(add.name for add in additions), read)
