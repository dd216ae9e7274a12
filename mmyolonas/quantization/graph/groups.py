"""The units in which it is decided what becomes 8 bit."""
import re
from dataclasses import dataclass
from typing import Dict, List, Tuple

from mmyolonas.quantization.graph.dataflow import Dataflow

_BOTTLENECK = re.compile(r'^(.*\.bottlenecks\.\d+)\.')
_TWINS = re.compile(r'^(.*)\.conv[12]\.conv$')
_TAIL = re.compile(r'\.(?:conv|rbr_reparam)$')


@dataclass(frozen=True)
class Group:
    """Layers that become 8 bit together.

    Args:
        name (str): Name of the block.
        layers (tuple[str, ...]): Its weighted layers, in order of execution.
        is_prediction (bool): Whether it makes a prediction.
    """
    name: str
    layers: Tuple[str, ...]
    is_prediction: bool = False


def group_name(layer: str) -> str:
    """Return the block a layer belongs to.

    A bottleneck (two convolutions and an addition) is one block; so are the two
    1x1 convolutions at the start of a CSP layer, which read the same tensor.
    """
    bottleneck = _BOTTLENECK.match(layer)
    if bottleneck:
        return bottleneck.group(1)
    twins = _TWINS.match(layer)
    if twins:
        return f'{twins.group(1)}.conv1+conv2'
    return _TAIL.sub('', layer)


def find_groups(flow: Dataflow) -> List[Group]:
    """Return the groups of a model, in order of execution.

    Args:
        flow (Dataflow): The model's tensors.

    Returns:
        list[Group]: Layers that are chosen together.
    """
    members: Dict[str, List[str]] = {}
    for layer in flow.layers:
        members.setdefault(group_name(layer), []).append(layer)
    return [Group(name, tuple(layers), all(map(flow.is_prediction, layers)))
            for name, layers in members.items()]


def default_layers(flow: Dataflow) -> List[str]:
    """Return every weighted layer but those whose output is decoded: full INT8.

    Args:
        flow (Dataflow): The model's tensors.

    Returns:
        list[str]: Names of the layers.
    """
    return [layer for layer in flow.layers if not flow.is_prediction(layer)]
