"""What 8 bit gains in time, group by group, and what switching costs."""
import os
import re
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from scipy.optimize import nnls

from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.groups import group_name
from mmyolonas.runtime.kernels import profile_kernels
from mmyolonas.runtime.timing import measure
from mmyolonas.utils import track, write_json
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build

REST = 'rest'
_SUFFIX = re.compile(r'(?:_token_\d+|_nchwc|_quant)+$')


@dataclass
class LatencyTable:
    """Times of a model on a target, in milliseconds.

    Args:
        float_ms (dict[str, float]): Time of each group in float.
        int8_ms (dict[str, float]): Time of each group in 8 bit.
        rest_ms (float): Everything else (decoding), the same for all plans.
        to_int8 (float): Switching to 8 bit, per million values.
        to_float (float): Switching back, per million values.
        target (str): What it was measured on.
    """
    float_ms: Dict[str, float] = field(default_factory=dict)
    int8_ms: Dict[str, float] = field(default_factory=dict)
    rest_ms: float = 0.
    to_int8: float = 0.
    to_float: float = 0.
    target: str = ''

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
        to_int8, to_float = boundaries.switched(names)
        return total + self.to_int8 * to_int8 + self.to_float * to_float


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

    def switched(self, names: Iterable[str]) -> Tuple[float, float]:
        """Return the millions of values switched to 8 bit and back by a plan."""
        names = set(names)
        to_int8 = to_float = 0.
        for tensor, readers in self.readers.items():
            producers = self.producers[tensor]
            if not (names & readers.keys() or names & producers.keys()):
                continue
            to_int8 += sum(size for group, size in producers.items() if group not in names)
            to_float += sum(size for group, size in readers.items() if group not in names)
        return to_int8, to_float


def find_boundaries(variants: Variants) -> Boundaries:
    """Return where the tensors of a model may switch."""
    flow = variants.flow
    sizes = _sizes(variants.model)
    by_name: Dict[str, float] = {}
    for value, name in flow.names.items():
        value = str(value)  # of an ONNX graph
        node = variants.graph.producers.get(value)
        if node is None or node.op_type in ('Relu', 'Add', 'ConvTranspose') or name not in by_name:
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


def profile(variants: Variants, names: Sequence[str], repeats: int = 20) -> Dict[str, float]:
    """Return the time of each group, and of the rest, in milliseconds.

    The shortest of ``repeats`` runs counts for each operator: what else runs on
    the machine can only add.

    Args:
        variants (Variants): Files.
        names (Sequence[str]): Groups in 8 bit.
        repeats (int): Runs. Defaults to 20.

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
    owners = _owners(variants)
    times: Dict[str, float] = defaultdict(float)
    for kernel in kernels:
        times[_owner(kernel.name, owners)] += kernel.ms
    return dict(times)


def _owners(variants: Variants) -> Dict[str, str]:
    """Return the group of each node of the float graph, by the node's name."""
    flow, graph = variants.flow, variants.graph
    layers = graph.layer_names(variants.table.weights)
    owners: Dict[str, str] = {}
    candidates = set(variants.candidates)
    consumers: Dict[str, List[int]] = defaultdict(list)
    for index, node in enumerate(variants.model.graph.node):
        for value in node.input:
            consumers[value].append(index)
    for index in range(len(variants.model.graph.node) - 1, -1, -1):
        node = variants.model.graph.node[index]
        owner: Optional[str]
        if index in layers:
            owner = group_name(layers[index])
        elif node.op_type in ('Concat', 'MaxPool', 'Resize', 'Mul'):  # goes with its reader
            readers = [owners.get(variants.model.graph.node[place].name)
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


def _owner(kernel: str, owners: Dict[str, str]) -> str:
    """Return the group of a kernel, whose name begins with that of a node or tensor."""
    name = _SUFFIX.sub('', kernel)
    if 'QuantizeLinear' in name or 'DequantizeLinear' in name:
        return REST  # the cost of switching is found from whole plans
    while name:
        if name in owners:
            return owners[name]
        cut = max(name.rfind('/'), name.rfind('_'))
        name = name[:cut] if cut > 0 else ''
    return REST


def measure_latency(variants: Variants, probes: int = 6, repeats: int = 20,
                    processor_time: bool = False) -> LatencyTable:
    """Measure a model's groups, and the cost of switching, on this machine.

    The groups' times are read from the runtime's profile of the float and of
    the full INT8 file. The cost of switching is what whole plans that switch
    often take longer than the sum of their groups.

    Args:
        variants (Variants): Files.
        probes (int): Plans to time for the switching cost. Defaults to 6.
        repeats (int): Runs of each. Defaults to 20.
        processor_time (bool): Count processor time instead of time that passes,
            on a machine that is busy with other things; one thread only.

    Returns:
        LatencyTable: The times.
    """
    names = variants.candidates
    plain, full = profile(variants, [], repeats), profile(variants, names, repeats)
    table = LatencyTable(
        {name: plain.get(name, 0.) for name in names},
        {name: full.get(name, 0.) for name in names},
        min(plain.get(REST, 0.), full.get(REST, 0.)), target=variants.runtime)
    boundaries = find_boundaries(variants)
    rng = np.random.default_rng(0)
    rows, targets = [], []
    clock = time.process_time if processor_time else time.perf_counter
    image = rng.random(variants.input_shape(), np.float32)
    for probe in track(range(probes), 'switching cost', probes):
        chosen = [name for name in names if rng.random() < (probe + 1) / (probes + 1)]
        best = measure({'': variants.open(chosen)}, image, repeats=repeats,
                       clock=clock)[''].best
        rows.append(boundaries.switched(chosen))
        targets.append(best - table.predict(boundaries, chosen))
    if rows:
        (table.to_int8, table.to_float), _ = nnls(np.array(rows), np.maximum(targets, 0))
        table.to_int8, table.to_float = float(table.to_int8), float(table.to_float)
    return table
