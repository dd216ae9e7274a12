"""The one view of an ONNX graph: looking things up, and changing it.

Files are protocol buffers (``onnx.ModelProto``) everywhere in this package. What only looks
something up uses :class:`OnnxGraph`, which costs a fraction of a millisecond; what changes a
graph does so within :func:`editing`, where ``onnx_ir`` keeps producers and uses right, those
in the bodies of loops and branches included.
"""
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from mmyolonas.utils.optional import require


class OnnxGraph:
    """Look-ups in a graph.

    Args:
        model (onnx.ModelProto): The graph; constants and producers are read once.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.graph
        self.constants = {init.name: init for init in self.graph.initializer}
        self.producers: Dict[str, Any] = {}
        for node in self.graph.node:
            for name in node.output:
                self.producers[name] = node

    def source(self, name: str) -> str:
        """Return the name behind identities (exporters share equal weights by them)."""
        while name in self.producers and self.producers[name].op_type == 'Identity':
            name = self.producers[name].input[0]
        return name

    def constant(self, name: str) -> Optional[np.ndarray]:
        """Return the value of a constant, or None if the tensor is computed."""
        from onnx import numpy_helper
        name = self.source(name)
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.producers.get(name)
        if node is not None and node.op_type == 'Constant':
            value = attribute(node, 'value', None)
            return None if value is None else numpy_helper.to_array(value)
        return None


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    from onnx import helper
    for item in node.attribute:
        if item.name == name:
            return helper.get_attribute_value(item)
    return default


@contextmanager
def editing(model: Any) -> Iterator[Any]:
    """Give a graph in a form that is safe to change, and take the changes over.

    Args:
        model (onnx.ModelProto): Changed at the end, in place; not if an error is raised.

    Yields:
        onnx_ir.Model: Values with producer and uses, nodes, initializers.

    Raises:
        ImportError: onnx_ir is not installed.
    """
    ir = require('onnx_ir', 'Changing an ONNX graph')
    view = ir.from_proto(model)
    yield view
    model.CopyFrom(ir.to_proto(view))


def dead_nodes(model: Any) -> List[str]:
    """Return the names of nodes that no output depends on."""
    view = require('onnx_ir', 'Checking an ONNX file').from_proto(model)
    nodes = list(view.graph)
    _drop_dead(view)
    return [node.name or node.op_type for node in nodes if node.graph is None]


def idle_weights(model: Any) -> List[str]:
    """Return the names of constants that nothing uses."""
    view = require('onnx_ir', 'Checking an ONNX file').from_proto(model)
    return [name for name, value in view.graph.initializers.items()
            if not value.uses() and not value.is_graph_output()]


def drop_dead_nodes(model: Any) -> None:
    """Remove nodes that no output depends on, and weights nothing uses, in place."""
    with editing(model) as view:
        _drop_dead(view)


def drop_unit_factors(model: Any) -> None:
    """Remove multiplications by a constant of one, in place."""
    ir = require('onnx_ir', 'Simplifying an ONNX file')
    with editing(model) as view:
        for node in view.graph:
            if node.op_type != 'Mul' or node.outputs[0].is_graph_output():
                continue
            for one, other in (node.inputs, node.inputs[::-1]):
                value = ir.convenience.get_const_tensor(one)
                if value is not None and len(value.shape) <= 1 and value.size == 1 and (
                        value.numpy().item() == 1):
                    node.outputs[0].replace_all_uses_with(other)
                    break
        _drop_dead(view)


def convolve_upsampling(model: Any) -> int:
    """Write transposed convolutions of kernel and stride 2 as 1x1 convolution and DepthToSpace.

    No two of their kernels overlap, so each of the four pixels that come of one is a 1x1
    convolution. Runtimes have integer kernels for that form, and faster ones. Weights keep
    their names; each channel becomes four neighbouring ones.

    Args:
        model (onnx.ModelProto): Float graph, changed in place.

    Returns:
        int: How many were rewritten.
    """
    from onnx import helper
    graph = OnnxGraph(model)
    rewritten = {}
    for index, node in enumerate(graph.graph.node):
        weight = graph.constant(node.input[1]) if node.op_type == 'ConvTranspose' else None
        if weight is None or not _doubles(node, weight):
            continue
        channels = weight.shape[1]
        kernel = weight.transpose(1, 2, 3, 0).reshape(4 * channels, -1, 1, 1)
        _replace(graph, node.input[1], kernel)
        if len(node.input) > 2:
            bias = graph.constant(node.input[2])
            if bias is None:
                continue
            _replace(graph, node.input[2], np.repeat(bias, 4))
        name = f'{node.output[0]}/pixels'
        rewritten[index] = [
            helper.make_node('Conv', list(node.input), [name], node.name, kernel_shape=[1, 1]),
            helper.make_node('DepthToSpace', [name], list(node.output),
                             f'{node.name}/DepthToSpace', blocksize=2, mode='CRD')]
    nodes = [new for index, node in enumerate(graph.graph.node)
             for new in rewritten.get(index, [node])]
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return len(rewritten)


def _doubles(node: Any, weight: np.ndarray) -> bool:
    """Return whether a transposed convolution makes four pixels of one and nothing else."""
    def values(name: str, default: int) -> set:
        return set(attribute(node, name, [default]))

    return (weight.shape[2:] == (2, 2) and values('strides', 1) == {2}
            and values('dilations', 1) == {1} and attribute(node, 'group', 1) == 1
            and values('pads', 0) == {0} and values('output_padding', 0) == {0}
            and attribute(node, 'output_shape', None) is None
            and attribute(node, 'auto_pad', b'NOTSET') in (b'NOTSET', b'VALID'))


def _replace(graph: OnnxGraph, name: str, value: np.ndarray) -> None:
    from onnx import numpy_helper
    name = graph.source(name)
    graph.constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    known = [info for info in graph.graph.value_info if info.name != name]  # its old shape
    del graph.graph.value_info[:]
    graph.graph.value_info.extend(known)


def _drop_dead(view: Any) -> None:
    require('onnx_ir.passes.common', 'Simplifying an ONNX file').RemoveUnusedNodesPass()(view)
