"""What 8 bit gains in time, group by group, and what switching costs."""
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx

from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.groups import group_name
from mmyolonas.utils import UserError, write_json
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build


@dataclass
class PlanTime:
    """A plan that was timed as a whole.

    Args:
        int8_groups (int): How many groups are 8 bit.
        predicted (float): Milliseconds, by a fit that the plan had no part in.
        measured (float): Median, in milliseconds.
    """
    int8_groups: int
    predicted: float
    measured: float


@dataclass
class LatencyTable:
    """Times of a model on a target, in milliseconds.

    Args:
        float_ms (dict[str, float]): Time of each group in float.
        int8_ms (dict[str, float]): Time of each group in 8 bit.
        rest_ms (float): Everything else (decoding, overhead), the same for all plans.
        to_int8 (float): Switching to 8 bit, per million values.
        to_float (float): Switching back, per million values.
        target (str): What it was measured on.
        each_int8 (float): Switching to 8 bit, per tensor and beside its size.
        each_float (float): Switching back, likewise.
        plans (list[PlanTime]): Evidence: whole plans, predicted and measured.
    """
    float_ms: Dict[str, float] = field(default_factory=dict)
    int8_ms: Dict[str, float] = field(default_factory=dict)
    rest_ms: float = 0.
    to_int8: float = 0.
    to_float: float = 0.
    target: str = ''
    each_int8: float = 0.
    each_float: float = 0.
    plans: List[PlanTime] = field(default_factory=list)

    def save(self, path: Union[str, Path]) -> None:
        """Write the table as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'LatencyTable':
        """Read a table, measured by this package or written by hand.

        Raises:
            UserError: No such file, or it is no table of latencies.
        """
        return read_json(path, 'a latency table', check=partial(build, cls),
                         advice='tools/quantize.py --method selective writes one.')

    def predict(self, boundaries: 'Boundaries', names: Iterable[str]) -> float:
        """Return the time of a plan with these groups in 8 bit."""
        names = set(names)
        total = self.rest_ms + sum(
            self.int8_ms[name] if name in names else value
            for name, value in self.float_ms.items())
        prices = (self.to_int8, self.to_float, self.each_int8, self.each_float)
        return total + float(np.dot(prices, boundaries.switches(names)))

    def check(self, names: Sequence[str], source: str = 'the latency table') -> None:
        """Raise unless the table is of a model with these groups.

        Args:
            names (Sequence[str]): Groups that may be 8 bit.
            source (str): Where the table is from, for the message.

        Raises:
            UserError: Groups are missing or there are others.
        """
        for table, title in ((self.float_ms, 'float_ms'), (self.int8_ms, 'int8_ms')):
            other = sorted(set(table) ^ set(names))
            if other:
                which = 'lacks' if other[0] in names else 'has'
                raise UserError(f'{source} is of another model: its {title} {which} {other[0]}. '
                                'Measure this model with tools/quantize.py --method selective.')

    def error(self) -> float:
        """Return the mean relative error over the plans that were timed (NaN without)."""
        if not self.plans:
            return float('nan')
        return float(np.mean([abs(plan.predicted / plan.measured - 1) for plan in self.plans]))

    def lines(self) -> List[str]:
        """Return the timed plans, predicted and measured, as lines for the terminal."""
        rows = [f'{plan.int8_groups:5d} groups in 8 bit: predicted {plan.predicted:8.2f} ms, '
                f'measured {plan.measured:8.2f} ms' for plan in self.plans]
        return [*rows, f'mean error {100 * self.error():.1f} % over {len(rows)} plans, each left '
                'out of the fit that predicts it'] if rows else []


@dataclass
class Boundaries:
    """Where a tensor may switch between float and 8 bit.

    Args:
        producers (dict[str, dict[str | None, float]]): By tensor class: the
            groups that make its tensors (None: the image), with their size in
            millions of values.
        readers (dict[str, dict[str, float]]): By tensor class: the groups that
            read it, with the size they read.
    """
    producers: Dict[str, Dict[Optional[str], float]]
    readers: Dict[str, Dict[str, float]]

    def switches(self, names: Iterable[str]) -> Tuple[float, float, float, float]:
        """Return millions of values switched to 8 bit and back, and how often either is done."""
        names = set(names)
        to_int8 = to_float = each_int8 = each_float = 0.
        for tensor, readers in self.readers.items():
            producers = self.producers[tensor]
            if not (names & readers.keys() or names & producers.keys()):
                continue
            for group, size in producers.items():
                if group not in names:
                    to_int8, each_int8 = to_int8 + size, each_int8 + 1
            for group, size in readers.items():
                if group not in names:
                    to_float, each_float = to_float + size, each_float + 1
        return to_int8, to_float, each_int8, each_float


def find_boundaries(variants: Variants) -> Boundaries:
    """Return where the tensors of a model may switch."""
    flow = variants.flow
    sizes = _sizes(variants.model)
    by_name: Dict[str, float] = {}
    for value, name in flow.names.items():
        value = str(value)  # of an ONNX graph
        node = variants.graph.producers.get(value)
        if node is None or name not in by_name or node.op_type in (
                'Relu', 'Add', 'ConvTranspose', 'DepthToSpace'):
            by_name[name] = sizes.get(value, 0) / 1e6
    producers: Dict[str, Dict[Optional[str], float]] = defaultdict(dict)
    readers: Dict[str, Dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for tensor, members in flow.classes().items():
        if not flow.readers(tensor):
            continue
        for name in members:
            group = None if name.endswith('.input') else group_name(name)
            producers[tensor][group] = producers[tensor].get(group, 0) + by_name[name]
    for layer, (source, _) in flow.layers.items():
        readers[flow.tensor_class(source)][group_name(layer)] = _input_size(variants, layer, sizes)
    for addition in flow.additions:
        for name in (addition.shortcut, addition.branch):
            readers[flow.tensor_class(name)].setdefault(group_name(addition.name), by_name[name])
    return Boundaries(dict(producers), {name: dict(row) for name, row in readers.items()})


def _input_size(variants: Variants, layer: str, sizes: Dict[str, int]) -> float:
    for index, name in variants.graph.layer_names(variants.table.weights).items():
        if name == layer:
            node = variants.model.graph.node[index]
            return sizes.get(variants.graph.source(node.input[0]), 0) / 1e6
    return 0.


def _sizes(model: onnx.ModelProto) -> Dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    return {info.name: int(np.prod([max(side.dim_value, 1)
                                    for side in info.type.tensor_type.shape.dim]))
            for info in [*inferred.graph.value_info, *inferred.graph.input]}
