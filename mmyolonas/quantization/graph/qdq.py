"""Where QuantizeLinear and DequantizeLinear stand, and how they are spelt.

A float ONNX graph and a table of ranges go in; a graph with explicit Q/DQ
comes out. One analysis decides for every runtime which tensors are 8 bit; only
the spelling differs:

* TensorRT: signed, zero point 0.
* ONNX Runtime on x86 and OpenVINO: unsigned, shifted by 128, or not shifted where the tensor
  cannot be negative: its kernels multiply unsigned by signed bytes, and a
  convolution absorbs the ReLU behind it only if the zero point is the smallest
  value of the type. With ``span='full'`` a tensor that cannot be negative has 255
  steps from zero to the end of its range; with ``'equal'`` 127, as the signed one,
  where it is clipped, so that all spellings mean the same numbers. Processors without
  VNNI add two products of bytes in 16 bit, for which 255 steps are too many. For ONNX Runtime
  an image of
  three channels is padded to four, since its fast kernels take multiples of four.
  OpenVINO reads signed pairs too, but on processors without AMX its
  low-precision transformations then compute a convolution behind a
  concatenation wrongly, by up to a tenth of the range.

Each 8-bit tensor has one pair, next to the layer that makes it, and all its
readers read that pair; a reader behind a product with a constant (the scaled
shortcut of a bottleneck) has the constant in its step. Weights are stored as
integers with a scale per output channel; biases stay float.
"""
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mmyolonas.export.onnx_graph import attribute, drop_dead_nodes
from mmyolonas.quantization.graph.dataflow import Dataflow, analyse
from mmyolonas.quantization.graph.groups import default_layers
from mmyolonas.quantization.graph.selection import Selection, select
from mmyolonas.quantization.graph.spelling import FULL_STEPS, STEPS, Spelling, spelling_of
from mmyolonas.quantization.graph.steps import StepGraph, check_float
from mmyolonas.quantization.table import RangeTable
from mmyolonas.utils import UserError


@dataclass
class Pair:
    """A Q/DQ pair on a value.

    Args:
        value (str): Name of the float value.
        integer (str): Name of the 8-bit value.
        scale (float): Step of the 8-bit value.
        zero_point (str): Name of the zero point's constant.
    """
    value: str
    integer: str
    scale: float
    zero_point: str


class QdqWriter:
    """Write the pairs of a selection into a graph.

    Args:
        model (onnx.ModelProto): Float graph, changed in place.
        table (RangeTable): Ranges.
        spelling (Spelling): How they are written.
    """

    def __init__(self, model: onnx.ModelProto, table: RangeTable, spelling: Spelling) -> None:
        self.graph = StepGraph(model)
        self.table = table
        self.spelling = spelling
        self.names = self.graph.layer_names(table.weights)
        if not self.names:
            raise UserError(
                'the ranges are of another model: none of its layers is in the ONNX graph. '
                'Export the calibrated model, and keep the names of its weights.')
        self.flow: Dataflow = analyse(self.graph.steps(self.names))
        self._before: Dict[int, List[onnx.NodeProto]] = {}
        self._after: Dict[str, List[onnx.NodeProto]] = {}
        self._pairs: Dict[str, Pair] = {}

    def write(self, selection: Selection) -> None:
        """Insert the pairs and drop what they leave without use.

        Raises:
            UserError: The selection is not of this graph, or a range is missing.
        """
        missing = [name for name in selection.layers if name not in self.flow.layers]
        if missing:
            raise UserError(f'the plan is for another model: the ONNX graph has no layer '
                            f'{sorted(missing)[0]}.')
        self.table.check(selection.layers)
        for index, node in enumerate(self.graph.graph.node):
            if self._reads_tensors(index, node):
                for place, name in enumerate(node.input):
                    if index in self.names and place > 0:
                        break
                    read = self._read(name, node.op_type == 'Add', selection)
                    if read is not None:
                        node.input[place] = read
            if self.names.get(index) in selection.layers:
                self._quantise_weight(index, node, self._pad_input(node))
        self._assemble()
        drop_dead_nodes(self.graph.model)

    def _reads_tensors(self, index: int, node: onnx.NodeProto) -> bool:
        """Return whether a node reads the pair of an 8-bit tensor, if there is one."""
        if index in self.names:
            return True
        kind, values = self.graph.kind(node, tuple(map(self.graph.source, node.input)))
        return kind in ('commute', 'add') and all(
            self.flow.rescaled.get(value, value) in self.flow.names for value in values) and (
                node.output[0] in self.flow.names)

    def _read(self, name: str, addition: bool, selection: Selection) -> Optional[str]:
        """Return the dequantised form of a value, or None if it stays float."""
        value = self.graph.source(name)
        behind = str(self.flow.rescaled.get(value, value)) if addition else value
        label = self.flow.names.get(behind)
        if label is None or self.flow.tensor_class(label) not in selection.classes:
            return None
        pair = self._pair(behind, self.flow.tensor_class(label))
        factor = self.graph.factor(value) if behind != value else 1.
        return self._dequantise(pair, factor)

    def _pair(self, value: str, tensor_class: str) -> Pair:
        if value in self._pairs:
            return self._pairs[value]
        if tensor_class not in self.table.activations:
            raise UserError(f'there is no range for the tensor {tensor_class}; calibrate again.')
        full = self.spelling.full and (self.flow.is_nonnegative(tensor_class)
                                       or tensor_class in self.table.nonnegative)
        scale = self.table.activations[tensor_class] / (FULL_STEPS if full else STEPS)
        shifted = not full and value not in self.flow.nonnegative
        pair = Pair(value, f'{value}/quantised', scale, self._zero_point(shifted))
        clip = self.spelling.saturate and not shifted
        integer = f'{value}/unclipped' if clip else pair.integer
        nodes = [helper.make_node(
            'QuantizeLinear', [value, self._constant(f'{value}/scale', np.float32(scale)),
                               pair.zero_point], [integer], name=f'{value}/QuantizeLinear')]
        if clip:
            ends = [self._constant('zero_point_0', np.uint8(0)),
                    self._constant('saturation', np.uint8(STEPS))]
            nodes.append(helper.make_node('Clip', [integer, *ends], [pair.integer],
                                          name=f'{value}/Saturate'))
        self._after[value] = nodes
        self._pairs[value] = pair
        return pair

    def _dequantise(self, pair: Pair, factor: float = 1., integer: Optional[str] = None) -> str:
        """Return the float form of a pair, times a factor that costs nothing."""
        integer = integer or pair.integer
        suffix = '' if factor == 1 else f'_times_{factor:.6g}'
        output = f'{integer.replace("/quantised", "/dequantised")}{suffix}'
        nodes = self._after[pair.value]
        if not any(output in node.output for node in nodes):
            scale = self._constant(f'{pair.value}/scale{suffix}', np.float32(pair.scale * factor))
            nodes.append(helper.make_node(
                'DequantizeLinear', [integer, scale, pair.zero_point], [output],
                name=f'{output}/DequantizeLinear'))
        return output

    def _pad_input(self, node: onnx.NodeProto) -> int:
        """Pad the integer channels a convolution reads; return by how many."""
        weight = self.graph.constant(node.input[1])
        if node.op_type != 'Conv' or weight is None or attribute(node, 'group', 1) != 1:
            return 0
        extra = -weight.shape[1] % self.spelling.channel_multiple
        pair = next((p for p in self._pairs.values()
                     if node.input[0] == f'{p.value}/dequantised'), None)
        if not extra or pair is None:
            return 0
        padded = f'{pair.integer}_padded'
        pads = self._constant(f'{pair.value}/pads', np.array([0, 0, 0, 0, 0, extra, 0, 0]))
        nodes = self._after[pair.value]
        if not any(padded in item.output for item in nodes):
            nodes.append(helper.make_node(
                'Pad', [pair.integer, pads, pair.zero_point], [padded], name=f'{padded}/Pad'))
        node.input[0] = self._dequantise(pair, integer=padded)
        return extra

    def _quantise_weight(self, index: int, node: onnx.NodeProto, extra: int) -> None:
        """Replace a float weight by an integer one behind a DequantizeLinear.

        Args:
            index (int): The node's place.
            node (NodeProto): The weighted node.
            extra (int): Input channels to add, with zeros.
        """
        layer = self.names[index]
        weight = self.graph.constant(node.input[1])
        if weight is None:
            raise UserError(f'the weight of {layer} is not a constant of the ONNX graph.')
        axis = 1 if node.op_type == 'ConvTranspose' else 0
        ranges = np.asarray(self.table.weights[layer], np.float32)
        if 4 * len(ranges) == weight.shape[axis]:  # a transposed convolution as a 1x1 one
            ranges = np.repeat(ranges, 4)
        if ranges.shape != (weight.shape[axis], ):
            raise UserError(
                f'the ranges are of another model: {layer} has {weight.shape[axis]} output '
                f'channels, the table {ranges.size}. Calibrate this model.')
        self._correct_bias(layer, node, weight.shape[axis])
        integers, scales = quantise_weight(weight, ranges, axis)
        integers = np.pad(integers, ((0, 0), (0, extra), (0, 0), (0, 0)))
        self._constant(f'{layer}.weight/quantised', integers)
        self._constant(f'{layer}.weight/scale', scales)
        self._constant(f'{layer}.weight/zero_point', np.zeros(len(scales), np.int8))
        output = f'{layer}.weight/dequantised'
        names = [f'{layer}.weight/{part}' for part in ('quantised', 'scale', 'zero_point')]
        self._before[index] = [helper.make_node(
            'DequantizeLinear', names, [output], name=f'{layer}.weight/DequantizeLinear',
            axis=axis)]
        node.input[1] = output

    def _correct_bias(self, layer: str, node: onnx.NodeProto, channels: int) -> None:
        """Add what the table says to the bias of an 8-bit layer."""
        more = np.asarray(self.table.corrections.get(layer, ()), np.float32)
        more = np.repeat(more, 4) if 4 * len(more) == channels else more
        if not more.size:
            return
        bias = self.graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(channels)
        if bias is None or bias.shape != more.shape:
            raise UserError(f'the corrections of biases are of another model: {layer} has '
                            f'{channels} channels, the table {more.size}. Calibrate this model.')
        name = self._constant(f'{layer}.bias/corrected', (bias + more).astype(np.float32))
        if len(node.input) > 2:
            node.input[2] = name
        else:
            node.input.append(name)

    def _zero_point(self, shifted: bool) -> str:
        if not self.spelling.unsigned:
            return self._constant('zero_point', np.int8(0))
        value = 128 if shifted else 0
        return self._constant(f'zero_point_{value}', np.uint8(value))

    def _constant(self, name: str, value: Any) -> str:
        if name not in self.graph.constants:
            tensor = numpy_helper.from_array(np.asarray(value), name)
            self.graph.graph.initializer.append(tensor)
            self.graph.constants[name] = tensor
        return name

    def _assemble(self) -> None:
        """Put the new nodes where what they read has been made."""
        nodes: List[onnx.NodeProto] = []
        for value in self.graph.graph.input:
            nodes.extend(self._after.get(value.name, ()))
        for index, node in enumerate(self.graph.graph.node):
            nodes.extend(self._before.get(index, ()))
            nodes.append(node)
            for name in node.output:
                nodes.extend(self._after.get(name, ()))
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.graph.node[:]
        self.graph.graph.node.extend(nodes)


def quantise_weight(weight: np.ndarray, ranges: np.ndarray,
                    axis: int) -> Tuple[np.ndarray, np.ndarray]:
    """Return the integers and scales of a weight, one scale per channel.

    Args:
        weight (ndarray): Float weight.
        ranges (ndarray): Largest absolute value to represent, per channel; a
            dead channel has 0.
        axis (int): The channels' axis.

    Returns:
        tuple[ndarray, ndarray]: int8 weight within -127..127; float32 scales.
    """
    ranges = ranges.astype(np.float32)
    # a dead channel has only zeros; any positive scale represents them
    scales = np.where(ranges > 0, ranges / STEPS, 1).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    integers = np.rint(weight / scales.reshape(shape)).clip(-STEPS, STEPS)
    return integers.astype(np.int8), scales


def insert_qdq(model: onnx.ModelProto,
               table: RangeTable,
               runtime: str = 'tensorrt',
               selection: Optional[Selection] = None,
               span: str = 'full') -> onnx.ModelProto:
    """Return the 8-bit form of a float graph.

    Args:
        model (onnx.ModelProto): Float graph whose weights bear the names of the
            state dict; not changed.
        table (RangeTable): Ranges of the model.
        runtime (str): ``'tensorrt'``, ``'tensorrt_rtx'``, ``'openvino'`` or
            ``'onnxruntime'``. Defaults to ``'tensorrt'``.
        selection (Selection, optional): What is 8 bit; None for every layer
            but the predictions.
        span (str): ONNX Runtime and OpenVINO: ``'full'`` for 255 steps where a tensor cannot be
            negative, ``'equal'`` for 127, the numbers of TensorRT. Defaults to ``'full'``.

    Returns:
        onnx.ModelProto: The graph with explicit Q/DQ.

    Raises:
        UserError: The graph is quantised, its opset is below 13, the runtime
            has no 8-bit form, or table or selection belong to another model.
    """
    check_float(model)
    spelling = spelling_of(runtime, span)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    writer = QdqWriter(result, table, spelling)
    writer.write(selection or select(writer.flow, default_layers(writer.flow)))
    onnx.checker.check_model(result)
    return result


def count_pairs(model: onnx.ModelProto) -> Dict[str, int]:
    """Return how many tensors and weights of a graph are 8 bit.

    Args:
        model (ModelProto): A graph with QuantizeLinear and DequantizeLinear.

    Returns:
        dict[str, int]: ``tensors`` and ``weights``.
    """
    constants = {init.name for init in model.graph.initializer}
    weights = sum(node.op_type == 'DequantizeLinear' and node.input[0] in constants
                  for node in model.graph.node)
    tensors = sum(node.op_type == 'QuantizeLinear' for node in model.graph.node)
    return dict(tensors=tensors, weights=weights)
