"""An ONNX graph as a list of steps."""
from typing import Dict, Iterable, List, Optional, Tuple

import onnx

from mmyolonas.export.onnx_graph import OnnxGraph, attribute
from mmyolonas.export.onnx_passes import opset_version
from mmyolonas.quantization.graph.dataflow import Op
from mmyolonas.utils import UserError

WEIGHTED = ('Conv', 'ConvTranspose')


class StepGraph(OnnxGraph):
    """An ONNX graph whose nodes are steps of the data flow."""

    def layer_names(self, known: Optional[Iterable[str]] = None) -> Dict[int, str]:
        """Return the module name of each weighted node, by its place in the graph.

        A node is called by its weight, which exporters name after the state
        dict's key, perhaps with the name of a wrapper in front.

        Args:
            known (Iterable[str], optional): Module names to find; a prefix in
                front of them is dropped. None keeps names as they are.
        """
        known = None if known is None else set(known)
        names = {}
        for index, node in enumerate(self.graph.node):
            if node.op_type not in WEIGHTED:
                continue
            weight = self.source(node.input[1])
            name = weight[:-len('.weight')] if weight.endswith('.weight') else weight
            while known is not None and name not in known and '.' in name:
                name = name.partition('.')[2]
            if known is None or name in known:
                names[index] = name
        return names

    def steps(self, names: Dict[int, str]) -> List[Op]:
        """Return the graph's steps; ``names`` as :meth:`layer_names` returns them."""
        ops = []
        for index, node in enumerate(self.graph.node):
            if not node.output:
                continue
            inputs = tuple(map(self.source, node.input))
            if index in names:
                ops.append(Op('weighted', inputs[:1], node.output[0], names[index]))
                continue
            kind, used = self.kind(node, inputs)
            if kind:
                ops.append(Op(kind, used, node.output[0]))
            else:
                ops.extend(Op('other', inputs, output) for output in node.output)
        return ops

    def kind(self, node: onnx.NodeProto, inputs: Tuple[str, ...]) -> Tuple[str, tuple]:
        """Return the kind of step a node is, and the values it works on."""
        if node.op_type == 'Relu' or (node.op_type == 'Clip' and self._clips_at_zero(node)):
            return 'relu', inputs[:1]
        if node.op_type == 'MaxPool' or (
                node.op_type == 'Resize' and attribute(node, 'mode', b'nearest') == b'nearest'):
            return 'commute', inputs[:1]
        if node.op_type == 'DepthToSpace':
            return 'commute', inputs[:1]
        if node.op_type == 'Concat' and attribute(node, 'axis', 1) == 1:
            return 'commute', inputs
        if node.op_type == 'Mul':
            for factor, other in (inputs, inputs[::-1]):
                value = self.constant(factor)
                if value is not None and value.size == 1 and value.item() > 0:
                    return 'rescale', (other, )
        if node.op_type == 'Add' and not any(self.constant(name) is not None for name in inputs):
            return 'add', inputs
        return '', ()

    def _clips_at_zero(self, node: onnx.NodeProto) -> bool:
        low = self.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
        high = node.input[2] if len(node.input) > 2 else ''
        return low is not None and low.size == 1 and low.item() == 0 and not high

    def factor(self, name: str) -> float:
        """Return the factor between a rescaled value and the value behind it."""
        factor = 1.
        name = self.source(name)
        while name in self.producers and self.producers[name].op_type == 'Mul':
            left, right = map(self.source, self.producers[name].input)
            value = self.constant(left)
            name = right
            if value is None:
                value, name = self.constant(right), left
            if value is None or value.size != 1:
                break
            factor *= float(value.item())
        return factor


def check_float(model: onnx.ModelProto, source: str = 'the ONNX graph') -> None:
    """Raise if a graph is quantised already or cannot hold Q/DQ per channel.

    Raises:
        UserError: There are QuantizeLinear nodes, or the opset is below 13.
    """
    if any(node.op_type in ('QuantizeLinear', 'QLinearConv') for node in model.graph.node):
        raise UserError(f'{source} is quantised already; start from the float export.')
    opset = opset_version(model)
    if opset < 13:
        raise UserError(f'{source} has opset {opset}; scales per channel need opset 13 or later: '
                        'export it again with opset=17.')
