"""ONNX Runtime."""
from typing import Any, Dict, List, Optional, Union

import numpy as np

from mmyolonas.runtime.base import Session, TensorInfo
from mmyolonas.runtime.weights import check_onnx_weights
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.optional import require

TYPES = {
    'tensor(float)': 'float32',
    'tensor(float16)': 'float16',
    'tensor(double)': 'float64',
    'tensor(uint8)': 'uint8',
    'tensor(int8)': 'int8',
    'tensor(int32)': 'int32',
    'tensor(int64)': 'int64',
    'tensor(bool)': 'bool',
}


class OnnxRuntimeSession(Session):
    """A model in ONNX Runtime.

    Args:
        path (str): ``.onnx`` file.
        device (str): ``'cpu'``, or ``'cuda'`` with an optional index.
        num_threads (int, optional): Threads within an operator.
        settings (dict, optional): Further attributes of ``onnxruntime.SessionOptions``.

    Raises:
        ImportError: ONNX Runtime is not installed.
        RuntimeError: A GPU was asked for and the package has none.
        ValueError: The file is not one ONNX Runtime can run.
    """
    backend = 'onnxruntime'

    def __init__(self, path: str, device: str = 'cpu', num_threads: Optional[int] = None,
                 settings: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(path)
        ort = require('onnxruntime', 'Running an ONNX file')
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors; what its optimiser warns of is no one's business
        # waiting threads spin within a run only: between runs the processor is the caller's
        options.add_session_config_entry('session.force_spinning_stop', '1')
        if num_threads:
            options.intra_op_num_threads = num_threads
            options.inter_op_num_threads = 1
        for name, value in (settings or {}).items():
            setattr(options, name, value)
        providers: List[Union[str, tuple]] = ['CPUExecutionProvider']
        if device != 'cpu':
            if 'CUDAExecutionProvider' not in ort.get_available_providers():
                raise UserError(
                    f'device {device!r} was asked for, but this onnxruntime has no CUDA '
                    'provider; pip install onnxruntime-gpu, or use device="cpu".')
            index = int(device.partition(':')[2] or 0)
            providers.insert(0, ('CUDAExecutionProvider', {'device_id': index}))
        try:
            self._session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # its own exception types are not importable everywhere
            message = str(error)
            hint = ''
            if 'EfficientNMS_TRT' in message:
                hint = ' (nms="efficient_nms" is for TensorRT; export with nms="onnx")'
            raise ValueError(f'onnxruntime cannot load {path}{hint}: '
                             f'{" ".join(message.split())[:300]}') from error
        check_onnx_weights(path)
        self.inputs = [_info(node) for node in self._session.get_inputs()]
        self.outputs = [_info(node) for node in self._session.get_outputs()]
        self.props = dict(self._session.get_modelmeta().custom_metadata_map)
        self._names = [info.name for info in self.outputs]

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        try:
            return dict(zip(self._names, self._session.run(self._names, feed)))
        except Exception as error:  # its own exception types are not importable everywhere
            raise ValueError(f'onnxruntime cannot run {self.path}: '
                             f'{" ".join(str(error).split())[:300]}') from error

    def end_profiling(self) -> str:
        """Write the profile, if ``settings`` had one made; return the file."""
        return self._session.end_profiling()

    def close(self) -> None:
        """Release the session."""
        self._session = None


def _info(node) -> TensorInfo:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return TensorInfo(node.name, shape, TYPES.get(node.type, node.type))
