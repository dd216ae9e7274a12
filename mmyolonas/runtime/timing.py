"""Running ONNX files: outputs and latency."""
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence

import numpy as np

from mmyolonas.utils import UserError

RUNNERS = ('onnxruntime', 'openvino')


@dataclass
class Latency:
    """Time of one run in milliseconds.

    Args:
        median (float): Median.
        best (float): Shortest.
        times (list[float]): All runs.
    """
    median: float
    best: float
    times: List[float]


def open_file(path: str, runtime: str, num_threads: int = 2) -> Callable[[np.ndarray], list]:
    """Return a function from a network input to the outputs of a file.

    Args:
        path (str): ONNX file.
        runtime (str): ``'onnxruntime'`` or ``'openvino'``.
        num_threads (int): Threads. Defaults to 2.

    Raises:
        ImportError: The runtime is not installed.
        UserError: It cannot be run here.
    """
    if runtime == 'onnxruntime':
        return _open_onnxruntime(path, num_threads)
    if runtime == 'openvino':
        return _open_openvino(path, num_threads)
    raise UserError(f'{runtime} files cannot be run here; measured runtimes are '
                    f'{", ".join(RUNNERS)}. For another one give a latency table.')


def _open_onnxruntime(path: str, num_threads: int) -> Callable[[np.ndarray], list]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ImportError(f'Running ONNX files needs onnxruntime ({error}). '
                          'Install it with: pip install onnxruntime') from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    # otherwise its idle threads take the processor from the file that is timed next
    options.add_session_config_entry('session.force_spinning_stop', '1')
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})


def _open_openvino(path: str, num_threads: int) -> Callable[[np.ndarray], list]:
    try:
        import openvino
    except ImportError as error:
        raise ImportError(f'Running a file in OpenVINO needs openvino ({error}). '
                          'Install it with: pip install openvino') from error
    compiled = openvino.Core().compile_model(str(path), 'CPU', {
        'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_NUM_THREADS': num_threads,
        'INFERENCE_PRECISION_HINT': 'f32'})
    request = compiled.create_infer_request()
    outputs = range(len(compiled.outputs))

    def run(image: np.ndarray) -> list:
        results = request.infer([image], share_inputs=True)
        return [results[index].copy() for index in outputs]

    return run


def measure(runs: Dict[str, Callable[[np.ndarray], list]], image: np.ndarray,
            repeats: int = 15, warm_up: int = 3,
            clock: Callable[[], float] = time.perf_counter) -> Dict[str, Latency]:
    """Time several files in turn, so that all see the same state of the machine.

    Args:
        runs (dict): Functions of :func:`open_file`, by name.
        image (ndarray): Input.
        repeats (int): Timed runs of each. Defaults to 15.
        warm_up (int): Runs that are not timed. Defaults to 3.
        clock (Callable): Seconds; ``time.process_time`` counts processor time,
            which a busy machine disturbs less.

    Returns:
        dict[str, Latency]: By name.
    """
    times: Dict[str, List[float]] = {name: [] for name in runs}
    for step in range(warm_up + repeats):
        for name, run in runs.items():
            start = clock()
            run(image)
            if step >= warm_up:
                times[name].append(1e3 * (clock() - start))
    return {name: summarise(values) for name, values in times.items()}


def summarise(times: Sequence[float]) -> Latency:
    """Return median and best of some times."""
    return Latency(float(np.median(times)), float(min(times)), list(times))
