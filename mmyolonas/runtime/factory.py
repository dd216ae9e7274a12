"""Choice of the runtime for a file."""
import importlib
import os
from typing import Optional

from mmyolonas.runtime.base import Session
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.optional import require

BACKENDS = ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'opencv', 'ncnn', 'mnn',
            'tflite', 'executorch')
#: Those that run an ONNX file as it is.
ONNX_BACKENDS = ('onnxruntime', 'openvino')
SUFFIXES = {
    '.onnx': 'onnxruntime',
    '.xml': 'openvino',
    '.engine': 'tensorrt',
    '.plan': 'tensorrt',
    '.param': 'ncnn',
    '.mnn': 'mnn',
    '.tflite': 'tflite',
    '.pte': 'executorch',
}
#: Module and class of those that run on a CPU alone and say everything else by their file.
SIMPLE = dict(
    opencv=('opencv_session', 'OpenCVSession'), ncnn=('ncnn_session', 'NcnnSession'),
    mnn=('mnn_session', 'MnnSession'), tflite=('tflite_session', 'TfliteSession'),
    executorch=('executorch_session', 'ExecuTorchSession'))


def check_device(backend: str, device: str) -> None:
    """Raise if a runtime cannot use a device here; before a long export, for example.

    Args:
        backend (str): Runtime; TensorRT always takes a GPU.
        device (str): ``'cpu'``, ``'cuda'`` or ``'cuda:1'``.

    Raises:
        UserError: It cannot.
    """
    kind, _, index = device.lower().partition(':')
    if kind not in ('cpu', 'cuda', 'gpu') or (index and not index.isdigit()):
        raise UserError(f'the device must be cpu, cuda or cuda:NUMBER, got {device!r}.')
    if kind != 'cpu' and backend in SIMPLE:
        raise UserError(f'{device} is not there for {backend}, which runs on the CPU here: use '
                        'cpu.')
    if kind == 'cpu' or backend not in ('onnxruntime', 'openvino'):
        return
    package = require(backend, 'Running an exported file')
    if backend == 'onnxruntime':
        there = 'CUDAExecutionProvider' in package.get_available_providers()
        advice = 'pip install onnxruntime-gpu, or use cpu'
    else:
        there = any(name.startswith('GPU') for name in package.Core().available_devices)
        advice = 'use cpu'
    if not there:
        raise UserError(f'{device} is not there for {backend}: {advice}.')


def open_session(path: str,
                 backend: Optional[str] = None,
                 device: str = 'cpu',
                 num_threads: Optional[int] = None) -> Session:
    """Load an exported model.

    Args:
        path (str): ``.onnx`` (ONNX Runtime, OpenVINO or OpenCV), ``.xml`` (OpenVINO),
            ``.engine`` or ``.plan`` (TensorRT, TensorRT-RTX), ``.param`` (ncnn), ``.mnn``,
            ``.tflite`` or ``.pte`` (ExecuTorch).
        backend (str, optional): One of :data:`BACKENDS`; chosen by the suffix if None.
        device (str): ``'cpu'`` or ``'cuda'``, ``'cuda:1'``. TensorRT always
            takes a GPU. Defaults to ``'cpu'``.
        num_threads (int, optional): Threads of a CPU runtime.

    Returns:
        Session: The loaded model.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The suffix and the backend do not go together.
        ImportError: The runtime is not installed.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if backend is None:
        if suffix not in SUFFIXES:
            raise ValueError(
                f'cannot tell the runtime from the name {path!r}; expected one of '
                f'{", ".join(SUFFIXES)}, or pass backend=.')
        backend = SUFFIXES[suffix]
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}.')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no such model file: {path}')
    allowed = {
        'onnxruntime': ('.onnx', ),
        'openvino': ('.onnx', '.xml'),
        'opencv': ('.onnx', ),
    }.get(backend, tuple(key for key, value in SUFFIXES.items()
                         if value == backend.partition('_')[0]))
    if suffix not in allowed:
        raise ValueError(
            f'{backend} loads {" or ".join(allowed)} files, got {path!r}; convert it first '
            '(tools/deploy.py).')
    if backend in SIMPLE:
        check_device(backend, device)
        module, name = SIMPLE[backend]
        return getattr(importlib.import_module(f'mmyolonas.runtime.{module}'), name)(
            path, num_threads)
    if backend == 'onnxruntime':
        from mmyolonas.runtime.onnxruntime_session import OnnxRuntimeSession
        return OnnxRuntimeSession(path, device, num_threads)
    if backend == 'openvino':
        from mmyolonas.runtime.openvino_session import OpenVINOSession
        return OpenVINOSession(path, device, num_threads)
    from mmyolonas.runtime.tensorrt_session import TensorRTSession
    return TensorRTSession(path, backend, device)
