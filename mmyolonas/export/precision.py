"""16-bit networks by casting the ONNX file.

modelopt's ``autocast`` places the same casts if it is told which nodes stay in 32 bit. It is not
used: it decides by the range of values otherwise (decoding becomes 16 bit), drops the description
in the file, rounds a quantisation scale that 16 bit cannot hold without a word, and needs cupy
and older versions of onnx and onnxruntime.
"""
from typing import Any, Dict, List, Set

import numpy as np

from mmyolonas.export.onnx_passes import opset_version
from mmyolonas.utils.optional import require

HALF_MAX = 65504.
# operators that name the float type they make
CONSTANT_MAKERS = ('Constant', 'ConstantOfShape')


def count_quantizers(model: Any) -> int:
    """Return the number of QuantizeLinear and DequantizeLinear nodes."""
    return sum(node.op_type in ('QuantizeLinear', 'DequantizeLinear')
               for node in model.graph.node)


def half_region(model: Any) -> Set[int]:
    """Return the indices of the nodes that may run in 16 bit: all up to the last convolutions.

    Decoding and suppression come after the last convolution of every branch,
    so what no convolution depends on stays in 32 bit.
    """
    nodes = model.graph.node
    producers = {name: index for index, node in enumerate(nodes) for name in node.output}
    pending = [index for index, node in enumerate(nodes)
               if node.op_type in ('Conv', 'ConvTranspose')]
    region: Set[int] = set()
    while pending:
        index = pending.pop()
        if index not in region:
            region.add(index)
            pending.extend(producers[name] for name in nodes[index].input if name in producers)
    return region


def float_nodes(model: Any) -> List[str]:
    """Return the names of the nodes that stay in 32 bit."""
    region = half_region(model)
    return [node.name for index, node in enumerate(model.graph.node) if index not in region]


def convert_fp16(model: Any) -> Any:
    """Return a copy of a graph whose convolutions and what lies between are 16 bit.

    Inputs and outputs keep their types; decoding and suppression stay in 32
    bit. Q/DQ nodes take 16-bit scales, for which opset 19 is needed; a scale
    that 16 bit cannot hold to one per cent is an error.

    Args:
        model (onnx.ModelProto): 32-bit graph.

    Returns:
        onnx.ModelProto: The mixed graph.

    Raises:
        ValueError: The graph has no convolution, or a scale is too small.
    """
    onnx = require('onnx', 'Casting an ONNX file to 16 bit')
    if count_quantizers(model) and opset_version(model) < 19:
        model = onnx.version_converter.convert_version(model, 19)
    else:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        model = copy
    if not any(node.op_type == 'Conv' for node in model.graph.node):
        raise ValueError('the ONNX file has no convolution; it is not a network of this package.')
    _Caster(onnx, model).run()
    return model


class _Caster:
    """One conversion; see :func:`convert_fp16`."""

    def __init__(self, onnx: Any, model: Any) -> None:
        self.onnx = onnx
        self.graph = model.graph
        self.region = half_region(model)
        self.floats = _float_tensors(onnx, model)
        self.weights = {init.name: init for init in self.graph.initializer}
        self.casts: Dict[tuple, str] = {}
        self.nodes: List[Any] = []

    def run(self) -> None:
        """Convert in place."""
        half = {name for index, node in enumerate(self.graph.node) if index in self.region
                for name in node.output if name in self.floats}
        outputs = {output.name for output in self.graph.output}
        for index, node in enumerate(list(self.graph.node)):
            inside = index in self.region
            for position, name in enumerate(node.input):
                if name not in self.floats:
                    continue
                if inside and name in self.weights:
                    node.input[position] = self._half_weight(node, name)
                elif inside and name not in half:
                    node.input[position] = self._cast(name, self.onnx.TensorProto.FLOAT16)
                elif not inside and name in half:
                    node.input[position] = self._cast(name, self.onnx.TensorProto.FLOAT)
            if inside:
                self._retype(node)
                for position, name in enumerate(node.output):
                    if name in outputs and name in half:
                        node.output[position] = f'{name}.fp16'
                        self.nodes.append(node)
                        self._add_cast(f'{name}.fp16', name, self.onnx.TensorProto.FLOAT)
                        break
                else:
                    self.nodes.append(node)
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]  # the types are others now
        used = {name for node in self.graph.node for name in node.input}
        kept = [init for init in self.weights.values() if init.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _half_weight(self, node: Any, name: str) -> str:
        """Return the name of a 16-bit copy of a weight."""
        half_name = f'{name}.fp16'
        if half_name not in self.weights:
            value = self.onnx.numpy_helper.to_array(self.weights[name])
            if value.dtype != np.float32:
                return name
            half = np.clip(value, -HALF_MAX, HALF_MAX).astype(np.float16)
            if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
                sizes = np.abs(value)
                errors = np.abs(half.astype(np.float32) - value) / np.where(sizes > 0, sizes, 1)
                if errors.max() > 0.01:
                    worst = value.ravel()[errors.argmax()]
                    raise ValueError(
                        f'the quantisation scale {name!r} ({worst}) is too small for 16 '
                        'bit; build with precision="int8" instead of "int8_fp16".')
            self.weights[half_name] = self.onnx.numpy_helper.from_array(half, half_name)
        return half_name

    def _cast(self, name: str, target: int) -> str:
        """Return the name of ``name`` in another type, adding the node once."""
        key = (name, target)
        if key not in self.casts:
            kind = 'fp16' if target == self.onnx.TensorProto.FLOAT16 else 'fp32'
            self.casts[key] = f'{name}.{kind}'
            self._add_cast(name, self.casts[key], target)
        return self.casts[key]

    def _add_cast(self, source: str, result: str, target: int) -> None:
        self.nodes.append(self.onnx.helper.make_node(
            'Cast', [source], [result], f'{result}/Cast', to=target))

    def _retype(self, node: Any) -> None:
        """Let a node that names a type make 16 bit instead of 32."""
        proto = self.onnx.TensorProto
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.name == 'to' and attribute.i == proto.FLOAT:
                attribute.i = proto.FLOAT16
            elif node.op_type in CONSTANT_MAKERS and attribute.name == 'value' and (
                    attribute.t.data_type == proto.FLOAT):
                value = self.onnx.numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(self.onnx.numpy_helper.from_array(value))


def _float_tensors(onnx: Any, model: Any) -> Set[str]:
    """Return the names of all 32-bit float tensors."""
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    floats = {value.name for value in [*graph.input, *graph.output, *graph.value_info]
              if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats.update(init.name for init in graph.initializer
                  if init.data_type == onnx.TensorProto.FLOAT)
    return floats
