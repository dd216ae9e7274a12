"""Whose time a kernel takes: the groups of a runtime's profile."""
import os
import re
import tempfile
from collections import defaultdict
from typing import Dict, List, Optional, Sequence

import numpy as np
import onnx

from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.groups import group_name
from mmyolonas.runtime.kernels import Kernel, profile_kernels

#: Name of what belongs to no group.
REST = 'rest'
_SUFFIX = re.compile(r'(?:_token_\d+|_nchwc|_quant|_kernel_time)+$')
_SWITCH = re.compile(
    r'/(?:QuantizeLinear|DequantizeLinear|Saturate|quantised|dequantised|unclipped)')


def profile(variants: Variants, names: Sequence[str], repeats: int = 20) -> Dict[str, float]:
    """Return the time of each group, and of the rest, in milliseconds.

    Args:
        variants (Variants): Files.
        names (Sequence[str]): Groups in 8 bit.
        repeats (int): Runs, of which the median counts for each kernel. Defaults to 20.

    Returns:
        dict[str, float]: By group; ``'rest'`` for everything else.
    """
    image = np.random.default_rng(0).random(variants.input_shape(), np.float32)
    handle, path = tempfile.mkstemp(suffix='.onnx')
    os.close(handle)
    try:
        onnx.save(variants.make(names), path)
        kernels = profile_kernels(path, image, variants.runtime, variants.num_threads, repeats)
    finally:
        os.unlink(path)
    return group_times(kernels, node_owners(variants))


def group_times(kernels: Sequence[Kernel], owners: Dict[str, str]) -> Dict[str, float]:
    """Return the time of each group.

    Args:
        kernels (Sequence[Kernel]): Profile of a file.
        owners (dict[str, str]): Group by node or tensor of the float graph.
    """
    times: Dict[str, float] = defaultdict(float)
    for kernel in kernels:
        times[kernel_owner(kernel, owners)] += kernel.ms
    return dict(times)


def node_owners(variants: Variants) -> Dict[str, str]:
    """Return the group of each node and tensor of the float graph, by name."""
    flow, graph = variants.flow, variants.graph
    layers = graph.layer_names(variants.table.weights)
    owners: Dict[str, str] = {}
    candidates = set(variants.candidates)
    consumers: Dict[str, List[int]] = defaultdict(list)
    nodes = variants.model.graph.node
    for index, node in enumerate(nodes):
        for value in node.input:
            consumers[value].append(index)
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        owner: Optional[str]
        if index in layers:
            owner = group_name(layers[index])
        elif node.op_type in ('Concat', 'MaxPool', 'Resize', 'Mul'):  # goes with its reader
            readers = [owners.get(nodes[place].name)
                       for value in node.output for place in consumers[value]]
            owner = next((name for name in readers if name), None)
        else:
            name = flow.names.get(node.output[0]) if node.output else None
            owner = group_name(name) if name else None
        if owner in candidates:
            owners[node.name] = owner
            for value in node.output:
                owners[value] = owner
    return owners


def kernel_owner(kernel: Kernel, owners: Dict[str, str]) -> str:
    """Return the group of a kernel, by the nodes of the file that it stands for.

    Its own name comes last: OpenVINO gives kernels names of its own (transposed convolutions
    are called ``ConvolutionBackpropData_1234``) and lists the nodes of the file beside them.
    """
    for name in [*kernel.nodes[1:], *kernel.nodes[:1], kernel.name]:
        owner = _owner_of(name, owners)
        if owner is not None:
            return owner
    return REST


def _owner_of(name: str, owners: Dict[str, str]) -> Optional[str]:
    name = _SUFFIX.sub('', name)
    if _SWITCH.search(name):
        return None  # the cost of switching is found from whole plans
    while name:
        if name in owners:
            return owners[name]
        cut = max(name.rfind('/'), name.rfind('_'))
        name = name[:cut] if cut > 0 else ''
    return None
