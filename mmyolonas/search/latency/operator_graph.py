"""The operators of an exported file, and which of its nodes each of them is."""
from dataclasses import dataclass, field, replace
from typing import Dict, List, Set, Tuple

import onnx

from mmyolonas.export.onnx_graph import OnnxGraph, attribute
from mmyolonas.search.latency.operators import Operator, decode_operator

_SKIPPED = ('Constant', 'Identity', 'Relu', 'Clip', 'HardSwish', 'LeakyRelu')
_RESHAPING = ('Reshape', 'Flatten', 'Slice', 'Split', 'Transpose')
Shape = Tuple[int, ...]


@dataclass
class GraphOperators:
    """What :func:`read_graph` finds.

    Args:
        operators (list[Operator]): In the order of the graph, decoding last.
        owners (dict[str, int]): Place in ``operators`` by the name of a node or of
            a tensor that it makes.
    """
    operators: List[Operator] = field(default_factory=list)
    owners: Dict[str, int] = field(default_factory=dict)


def graph_operators(model: onnx.ModelProto) -> List[Operator]:
    """Return the operators of a float export without suppression.

    They are those that :func:`mmyolonas.search.latency.operators.operators` finds in the
    model, perhaps in another order.

    Args:
        model (onnx.ModelProto): Exported with fixed sides and ``nms='none'``.
    """
    return read_graph(model).operators


def read_graph(model: onnx.ModelProto) -> GraphOperators:
    """Return the operators of a graph and their nodes; see :func:`graph_operators`."""
    return _Reader(model).read()


def tensor_shapes(model: onnx.ModelProto) -> Dict[str, Shape]:
    """Return the shape of each tensor, free sides as 1."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {info.name: tuple(max(side.dim_value, 1) for side in info.type.tensor_type.shape.dim)
            for info in [*inferred.value_info, *inferred.input, *inferred.output]}


class _Reader:
    """Goes through a graph once, in order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = OnnxGraph(model)
        self.shapes = tensor_shapes(model)
        self.found = GraphOperators()
        self.decoding: Set[str] = set()
        self.predictions: Dict[str, int] = {}
        self.decode_nodes: List[str] = []

    def read(self) -> GraphOperators:
        """Return what was found."""
        for node in self.graph.graph.node:
            data = [name for name in node.input if name and self.graph.constant(name) is None]
            if not data:
                continue  # works on constants alone
            if node.op_type in _RESHAPING or self.decoding.intersection(data):
                self._decode(node, data)
            elif node.op_type in _SKIPPED:
                self._own(node, self.found.owners.get(data[0], -1))
            else:
                self.found.operators.append(self._operator(node, data))
                self._own(node, len(self.found.operators) - 1)
        self._finish()
        return self.found

    def _own(self, node: onnx.NodeProto, place: int) -> None:
        if place >= 0:
            self.found.owners.update(dict.fromkeys((node.name, *node.output), place))

    def _decode(self, node: onnx.NodeProto, data: List[str]) -> None:
        """Note a node of the decoding, and what it reads from a convolution."""
        for name in data:
            if name not in self.decoding and name in self.found.owners:
                self.predictions[name] = self.found.owners[name]
        self.decoding.update(node.output)
        self.decode_nodes.extend([node.name, *node.output])

    def _finish(self) -> None:
        """Append the decoding and mark the convolutions in front of it."""
        found = self.found
        if not self.predictions:
            return
        for place in self.predictions.values():
            found.operators[place] = replace(found.operators[place], prediction=True)
        shapes = [self.shapes[name] for name in self.predictions]
        priors = sum(height * width for height, width in {shape[2:] for shape in shapes})
        largest = max(shape[2:] for shape in shapes)
        channels = sum(shape[1] for shape in shapes if shape[2:] == largest)
        numbers = sum(_per_prior(self.shapes[output.name], priors)
                      for output in self.graph.graph.output)
        bins = (channels - numbers) // 4 + 1
        found.operators.append(decode_operator(channels, bins, priors))
        found.owners.update({name: len(found.operators) - 1 for name in self.decode_nodes})

    def _operator(self, node: onnx.NodeProto, data: List[str]) -> Operator:
        shape = self.shapes[node.output[0]]
        source = self.shapes[data[0]]
        channels, height, width = (*shape[1:], 1, 1)[:3]
        kind, weight = node.op_type, self.graph.constant(node.input[1]) if len(
            node.input) > 1 else None
        stride = attribute(node, 'strides', [1])[0]
        if kind in ('Conv', 'ConvTranspose'):
            return Operator('conv' if kind == 'Conv' else 'deconv', source[1], channels, height,
                            width, weight.shape[2], stride, attribute(node, 'group', 1))
        if kind == 'MaxPool':
            return Operator('pool', channels, channels, height, width,
                            attribute(node, 'kernel_shape', [1])[0], stride)
        if kind == 'Concat':
            return Operator('concat', channels, channels, height, width, groups=len(data))
        if kind in ('GlobalAveragePool', 'ReduceMean', 'Sigmoid') or (
                kind == 'Mul' and len(data) > 1):
            self._mark_float(data)
        if kind in ('GlobalAveragePool', 'ReduceMean'):
            return Operator('mean', channels, channels, *source[2:])
        if kind == 'Mul':
            kind = 'scale' if len(data) > 1 else 'rescale'
        return Operator(kind.lower(), channels, channels, height, width)

    def _mark_float(self, data: List[str]) -> None:
        """Note that attention reads values."""
        found = self.found
        for place in {found.owners[name] for name in data if name in found.owners}:
            if found.operators[place].macs:
                found.operators[place] = replace(found.operators[place], float_output=True)


def _per_prior(shape: Shape, priors: int) -> int:
    """Return how many numbers of an output (B, L, ...) belong to each prior."""
    total = 1
    for side in shape[1:]:
        total *= side
    return total // priors
