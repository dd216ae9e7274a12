"""How long each kernel of a file takes, by the runtime's own profile."""
import json
import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Callable, Dict, List

import numpy as np
import onnx

from mmyolonas.runtime.onnxruntime_session import OnnxRuntimeSession
from mmyolonas.runtime.openvino_session import OpenVINOSession
from mmyolonas.utils import UserError, track


@dataclass
class Kernel:
    """One step of a file as a runtime executes it.

    Args:
        name (str): The runtime's name for it.
        ms (float): Median time in milliseconds; 0 if it was not executed.
        kind (str): Type of the node the runtime made.
        nodes (list[str]): Nodes and tensors of the file it stands for, as far as
            the runtime tells.
        sources (list[str]): Names of the kernels whose results it reads.
    """
    name: str
    ms: float
    kind: str = ''
    nodes: List[str] = field(default_factory=list)
    sources: List[str] = field(default_factory=list)


def profile_kernels(path: str, image: np.ndarray, runtime: str, num_threads: int = 2,
                    repeats: int = 20) -> List[Kernel]:
    """Return the kernels of an ONNX file.

    The median of ``repeats`` runs counts for each, as users see it.

    Args:
        path (str): ONNX file.
        image (ndarray): Network input.
        runtime (str): ``'onnxruntime'`` or ``'openvino'``.
        num_threads (int): Threads. Defaults to 2.
        repeats (int): Runs. Defaults to 20.

    Raises:
        UserError: Another runtime.
    """
    profilers: Dict[str, Callable[..., List[Kernel]]] = dict(
        onnxruntime=_profile_onnxruntime, openvino=_profile_openvino)
    if runtime not in profilers:
        raise UserError(f'kernels of {runtime} cannot be timed here; choose one of '
                        f'{", ".join(profilers)}.')
    return profilers[runtime](path, image, num_threads, repeats)


def _profile_onnxruntime(path: str, image: np.ndarray, num_threads: int,
                         repeats: int) -> List[Kernel]:
    with tempfile.TemporaryDirectory() as folder:
        optimised = os.path.join(folder, 'optimised.onnx')
        session = OnnxRuntimeSession(path, num_threads=num_threads, settings=dict(
            enable_profiling=True, profile_file_prefix=os.path.join(folder, 'profile'),
            optimized_model_filepath=optimised))
        for _ in track(range(repeats), 'profile'):
            session(image)
        with open(session.end_profiling(), encoding='utf-8') as file:
            events = json.load(file)
        graph = onnx.load(optimised, load_external_data=False).graph
    times: Dict[str, List[float]] = defaultdict(list)
    for event in events:
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time'):
            times[event['name'][:-len('_kernel_time')]].append(event['dur'] / 1e3)
    producers = {name: node.name for node in graph.node for name in node.output}
    kernels = [Kernel(node.name, 0., node.op_type, [node.name],
                      [producers[name] for name in node.input if name in producers])
               for node in graph.node]
    known = {kernel.name: kernel for kernel in kernels}
    for name, values in times.items():
        if name not in known:  # nodes without a name are called by type and place
            known[name] = Kernel(name, 0., name.rpartition('_')[0], [name])
            kernels.append(known[name])
        known[name].ms = float(np.median(values[1:] or values))
    return kernels


def _profile_openvino(path: str, image: np.ndarray, num_threads: int,
                      repeats: int) -> List[Kernel]:
    session = OpenVINOSession(path, num_threads=num_threads, settings={'PERF_COUNT': True})
    runs: Dict[str, List[float]] = defaultdict(list)
    for step in track(range(repeats), 'profile'):
        session(image)
        for name, value in session.node_times().items():
            if step and value:
                runs[name].append(value)
    times = {name: float(np.median(values)) for name, values in runs.items()}
    kernels = []
    for node in session.nodes():
        info = node.get_rt_info()
        name = node.get_friendly_name()
        sources = [value.get_source_output().get_node() for value in node.inputs()]
        kernels.append(Kernel(
            name, times.pop(name, 0.), _text(info, 'layerType'),
            [name, *filter(None, _text(info, 'originalLayersNames').split(','))],
            [source.get_friendly_name() for source in sources
             if _text(source.get_rt_info(), 'layerType') != 'Const']))
    kernels.extend(Kernel(name, value, '', [name]) for name, value in times.items())
    return kernels


def _text(info: Dict, key: str) -> str:
    if key not in info:
        return ''
    value = info[key]
    return str(getattr(value, 'value', value))
