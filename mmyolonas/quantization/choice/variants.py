"""Files of one model that differ in what is 8 bit."""
import os
import tempfile
from typing import Iterable, List

import onnx

from mmyolonas.quantization.choice.plan import selection_of
from mmyolonas.quantization.graph.dataflow import Dataflow, analyse
from mmyolonas.quantization.graph.groups import Group, find_groups
from mmyolonas.quantization.graph.qdq import insert_qdq
from mmyolonas.quantization.graph.steps import StepGraph, check_float
from mmyolonas.quantization.table import RangeTable
from mmyolonas.runtime.base import Session
from mmyolonas.runtime.factory import open_session


class Variants:
    """Make and run the files of a model with some groups in 8 bit.

    Args:
        float_onnx (str | ModelProto): Float export without NMS in the graph.
        table (RangeTable): Ranges.
        runtime (str): ``'onnxruntime'`` or ``'openvino'``.
        num_threads (int): Threads of the runtime. Defaults to 2.
        span (str): See :func:`mmyolonas.quantization.insert_qdq`.
    """

    def __init__(self, float_onnx, table: RangeTable, runtime: str, num_threads: int = 2,
                 span: str = 'full') -> None:
        self.model = float_onnx if isinstance(float_onnx, onnx.ModelProto) else onnx.load(
            str(float_onnx))
        check_float(self.model)
        self.table = table
        self.runtime = runtime
        self.num_threads = num_threads
        self.span = span
        self.graph = StepGraph(self.model)
        self.flow: Dataflow = analyse(self.graph.steps(self.graph.layer_names(table.weights)))
        self.groups: List[Group] = find_groups(self.flow)
        self.candidates = [group.name for group in self.groups if not group.is_prediction]

    def make(self, names: Iterable[str]) -> onnx.ModelProto:
        """Return the graph with these groups in 8 bit."""
        names = list(names)
        if not names:
            return self.model
        return insert_qdq(self.model, self.table, self.runtime,
                          selection_of(self.flow, names), self.span)

    def open(self, names: Iterable[str]) -> Session:
        """Return the loaded graph with these groups in 8 bit."""
        handle, path = tempfile.mkstemp(suffix='.onnx')
        os.close(handle)
        try:
            onnx.save(self.make(names), path)
            return open_session(path, self.runtime, num_threads=self.num_threads)
        finally:
            os.unlink(path)

    def input_shape(self) -> List[int]:
        """Return the shape of the network input, free sides as 1."""
        shape = self.model.graph.input[0].type.tensor_type.shape
        return [side.dim_value or 1 for side in shape.dim]
