"""Timing a network on a target: the whole, and each of its operators."""
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
import torch
from torch import nn

from mmyolonas.models.layers import YOLONASBottleneck
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.steps import StepGraph
from mmyolonas.quantization.table import RangeTable
from mmyolonas.runtime.factory import open_session
from mmyolonas.runtime.kernels import Kernel, profile_kernels
from mmyolonas.runtime.timing import Latency, measure
from mmyolonas.search.latency.operator_graph import GraphOperators, read_graph
from mmyolonas.search.latency.operators import Operator, boundary_operators, sides
from mmyolonas.utils import UserError

#: Precisions by target, the first two of which are measured unless others are named.
TARGETS: Dict[str, Tuple[str, ...]] = dict(
    onnxruntime=('fp32', 'int8'), openvino=('fp32', 'int8'),
    tensorrt=('fp16', 'int8', 'fp32'), tensorrt_rtx=('fp16', 'int8', 'fp32'))

#: What brings a target's package, if it is called otherwise.
_DISTRIBUTIONS = dict(tensorrt_rtx='tensorrt-rtx-cu12')

#: Range of every tensor of the files that are timed: the time does not depend on it.
_RANGE = 4.
_SUFFIXES = ('_nchwc', '_quant', '_kernel_time')


@dataclass
class NetworkTimes:
    """How long a network takes.

    Args:
        total (Latency): The whole network, not profiled.
        operators (list[tuple[Operator, float]]): Milliseconds of each operator,
            boundaries of 8 bit included; 0 for what the runtime fused away.
        rest (float): Kernels that belong to no operator.
    """
    total: Latency
    operators: List[Tuple[Operator, float]]
    rest: float


def check_target(target: str, precisions: Sequence[str] = ()) -> None:
    """Raise unless this machine can measure a target.

    Raises:
        UserError: An unknown target or precision, a runtime that is not installed,
            or no GPU for TensorRT.
    """
    if target not in TARGETS:
        raise UserError(f'unknown target {target!r}; choose one of {", ".join(TARGETS)}.')
    for precision in precisions:
        if precision not in TARGETS[target]:
            raise UserError(f'{target} is not measured in {precision}; choose from '
                            f'{", ".join(TARGETS[target])}.')
    try:
        if target.startswith('tensorrt'):
            from mmyolonas.runtime.cuda import Cuda
            from mmyolonas.runtime.tensorrt_api import TensorRTApi
            TensorRTApi(target)
            Cuda().close()
        else:
            __import__(target)
    except ImportError as error:
        raise UserError(f'measuring {target} needs the package {target}, which is not '
                        f'installed: pip install {_DISTRIBUTIONS.get(target, target)}') from error
    except RuntimeError as error:
        raise UserError(f'{target} cannot be measured here: {error}') from error


def export_network(model: nn.Module, input_size: Sequence[int]) -> onnx.ModelProto:
    """Return the float file whose operators are timed.

    Scales of shortcuts are set to a number other than 1, as in a trained network.

    Args:
        model (nn.Module): Detector or pose estimator; it is not changed.
        input_size (int | Sequence[int]): See :func:`operators`.
    """
    from mmyolonas.export.export import default_metadata, finish_onnx, trace
    from mmyolonas.export.fusion import fold_shortcut_scales, prepare_model
    from mmyolonas.export.graph import build_exported
    height, width = sides(input_size)
    model = prepare_model(model, fold_shortcuts=False)
    for module in model.modules():
        if isinstance(module, YOLONASBottleneck):
            nn.init.constant_(module.alpha, 0.9)
    fold_shortcut_scales(model)
    metadata = default_metadata(model)
    metadata.input_size = [width, height]
    graph = build_exported(model, metadata.postprocess)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'float.onnx')
        trace(graph, torch.zeros(1, 3, height, width), path, 'none', 17)
        proto = onnx.load(path)
    return finish_onnx(proto, metadata, None, True, {'levels': f'{graph.head_name}.levels'})


def made_up_ranges(model: onnx.ModelProto) -> RangeTable:
    """Return ranges for a float file that stand in for calibration where only time matters."""
    graph = StepGraph(model)
    weights = {}
    for index, name in graph.layer_names().items():
        node = model.graph.node[index]
        axis = 1 if node.op_type == 'ConvTranspose' else 0
        value = np.abs(graph.constant(node.input[1]))
        weights[name] = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).max(1).tolist()
    table = RangeTable(weights=weights)
    flow = Variants(model, table, 'onnxruntime').flow
    table.activations = dict.fromkeys(flow.classes(), _RANGE)
    return table


class NetworkFile:
    """A network on a target in one precision, ready to be timed.

    Args:
        model (onnx.ModelProto): Of :func:`export_network`.
        target (str): See :data:`TARGETS`.
        precision (str): See :data:`TARGETS`.
        num_threads (int): Threads of the runtime.
    """

    def __init__(self, model: onnx.ModelProto, target: str, precision: str,
                 num_threads: int = 1) -> None:
        self.target, self.precision, self.num_threads = target, precision, num_threads
        self.graph: GraphOperators = read_graph(model)
        self._folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self._folder.name, f'{precision}.onnx')
        shape = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
        self.image = np.random.default_rng(0).random(shape, np.float32)
        if precision == 'int8':
            runtime = Variants(model, made_up_ranges(model), target, num_threads)
            model = runtime.make(runtime.candidates)
        onnx.save(model, self.path)
        self._session = None
        if target.startswith('tensorrt'):
            self._session = _open_tensorrt(self.path, precision, target)

    def open(self) -> Callable[[np.ndarray], list]:
        """Return a function that runs the network once."""
        return self._session or open_session(
            self.path, self.target, num_threads=self.num_threads)

    def kernels(self, repeats: int = 20) -> List[Kernel]:
        """Return what the runtime's profile says."""
        if self._session is not None:
            times = self._session.layer_times({'input': self.image}, repeats)
            return [Kernel(name, ms, 'Layer', _layer_nodes(name)) for name, ms in times]
        return profile_kernels(self.path, self.image, self.target, self.num_threads, repeats)

    def operator_times(self, repeats: int = 20) -> Tuple[List[Tuple[Operator, float]], float]:
        """Return the time of each operator, and of what belongs to none."""
        network = list(self.graph.operators)
        if self.precision == 'int8':
            network += boundary_operators(network)
        places, rest = attribute(self.kernels(repeats), self.graph, self.precision == 'int8')
        return [(operator, places.get(index, 0.)) for index, operator in enumerate(network)], rest

    def close(self) -> None:
        """Remove the file."""
        if self._session is not None:
            self._session.close()
        self._folder.cleanup()

    def __enter__(self) -> 'NetworkFile':
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _layer_nodes(layer: str) -> List[str]:
    """Return the nodes in the name of a TensorRT layer.

    ``a/Conv + b/Relu``, ``{ForeignNode[a/Reshape...b/Concat]}`` and ``Reformatting
    CopyNode for Input Tensor 0 to a/Conv`` are some.
    """
    return [part for part in re.split(r' \+ | to |\.{3}|\|\||[{}\[\]]', layer) if part]


def _open_tensorrt(path: str, precision: str, flavour: str):
    from mmyolonas.deploy.tensorrt_builder import EngineOptions, build_engine
    from mmyolonas.runtime.tensorrt_session import TensorRTSession
    options = EngineOptions('int8_fp16' if precision == 'int8' else precision)
    info = build_engine(path, backend=flavour, options=options, use_cache=False)
    return TensorRTSession(info.path, flavour)


def time_network(model: onnx.ModelProto, target: str, precisions: Sequence[str],
                 num_threads: int = 1, repeats: int = 20) -> Dict[str, NetworkTimes]:
    """Time a network in several precisions, the whole runs in turn.

    Args:
        model (onnx.ModelProto): Of :func:`export_network`.
        target (str): See :data:`TARGETS`.
        precisions (Sequence[str]): See :data:`TARGETS`.
        num_threads (int): Threads of the runtime. Defaults to 1.
        repeats (int): Profiled runs, and runs of the whole. Defaults to 20.

    Returns:
        dict[str, NetworkTimes]: By precision.
    """
    files = {name: NetworkFile(model, target, name, num_threads) for name in precisions}
    try:
        image = next(iter(files.values())).image
        first = measure({name: file.open() for name, file in files.items()}, image,
                        repeats=(repeats + 1) // 2)
        found = {name: file.operator_times(repeats) for name, file in files.items()}
        second = measure({name: file.open() for name, file in files.items()}, image,
                         repeats=(repeats + 1) // 2)
    finally:
        for file in files.values():
            file.close()
    return {name: NetworkTimes(Latency(first[name].times + second[name].times), *found[name])
            for name in precisions}


def attribute(kernels: Sequence[Kernel], graph: GraphOperators,
              is_int8: bool = False) -> Tuple[Dict[int, float], float]:
    """Return the time of each operator of a graph.

    A kernel belongs to the operator whose node it bears the name of, the heaviest
    where it stands for several. What a runtime adds of its own, such as another
    order of memory, belongs to the operator that made the value. The image's way to
    8 bit, and the way back in front of a prediction, are operators of their own.

    Args:
        kernels (Sequence[Kernel]): Profile.
        graph (GraphOperators): Of the float file.
        is_int8 (bool): Whether the file is full INT8. Defaults to False.

    Returns:
        tuple[dict[int, float], float]: Milliseconds by place in the operators, in INT8
        those of :func:`boundary_operators` behind them; milliseconds of no operator.
    """
    return _Attribution(kernels, graph, is_int8).run()


class _Attribution:

    def __init__(self, kernels: Sequence[Kernel], graph: GraphOperators, is_int8: bool) -> None:
        self.kernels = kernels
        self.graph = graph
        count = len(graph.operators)
        predictions = [place for place, op in enumerate(graph.operators) if op.prediction]
        self.begin = count if is_int8 else 0
        self.ends = {place: count + 1 + index for index, place in enumerate(predictions)}
        self.sources = {kernel.name: kernel.sources for kernel in kernels}
        self.own = {kernel.name: self._named(kernel) for kernel in kernels}
        self.readers: Dict[str, List[str]] = {}
        for kernel in kernels:
            for source in kernel.sources:
                self.readers.setdefault(source, []).append(kernel.name)
        self.by_name = {kernel.name: kernel for kernel in kernels}

    def run(self) -> Tuple[Dict[int, float], float]:
        times: Dict[int, float] = {}
        rest = 0.
        for kernel in self.kernels:
            place = self._place(kernel) if kernel.ms else None
            if place is None:
                rest += kernel.ms
            else:
                times[place] = times.get(place, 0.) + kernel.ms
        return times, rest

    def _place(self, kernel: Kernel) -> Optional[int]:
        own = self.own[kernel.name]
        if not _is_dequantise(kernel):
            if own is not None:
                return own
        else:
            reader = self._along(kernel, self.readers)
            if reader is not None:
                return self.ends.get(reader, reader)
        source = self._along(kernel, self.sources)
        if source is not None:
            return source
        return self.begin if self._along(kernel, self.readers) == 0 else None

    def _named(self, kernel: Kernel) -> Optional[int]:
        """Return the heaviest operator that a kernel bears the name of."""
        found = {self._owner(name) for name in kernel.nodes} - {None}
        return max(found, key=lambda place: self.graph.operators[place].macs, default=None)

    def _owner(self, name: str) -> Optional[int]:
        """Return the operator of a node's name, which a runtime may have made longer."""
        for suffix in _SUFFIXES:
            name = name.replace(suffix, '')
        name = name.strip()
        while name:
            if name in self.graph.owners:
                return self.graph.owners[name]
            cut = max(name.rfind('/'), name.rfind('_'))
            name = name[:cut] if cut > 0 else ''
        return None

    def _along(self, kernel: Kernel, links: Dict[str, List[str]]) -> Optional[int]:
        """Return the nearest operator among the kernels that links lead to."""
        pending, seen = list(links.get(kernel.name, ())), set()
        while pending:
            name = pending.pop(0)
            if name in seen or name not in self.own:
                continue
            seen.add(name)
            if self.own[name] is not None and not _is_dequantise(self.by_name[name]):
                return self.own[name]
            pending.extend(links.get(name, ()))
        return None


def _is_dequantise(kernel: Kernel) -> bool:
    return kernel.kind == 'DequantizeLinear'
