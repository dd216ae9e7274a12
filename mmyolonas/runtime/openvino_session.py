"""OpenVINO."""
from typing import Any, Dict, List, Optional, Union

import numpy as np

from mmyolonas.runtime.base import Session, TensorInfo
from mmyolonas.runtime.weights import check_numbers
from mmyolonas.utils.optional import require


class OpenVINOSession(Session):
    """A model in OpenVINO, from its own format or from ONNX.

    Args:
        path (str): ``.xml`` (with its ``.bin``) or ``.onnx``.
        device (str): ``'cpu'``, or a name OpenVINO knows, for example ``'GPU'``.
        num_threads (int, optional): Threads of inference.
        settings (dict, optional): Further properties of the plug-in.

    Raises:
        ImportError: OpenVINO is not installed.
        ValueError: OpenVINO cannot read the file.
    """
    backend = 'openvino'

    def __init__(self, path: str, device: str = 'cpu', num_threads: Optional[int] = None,
                 settings: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(path)
        openvino = require('openvino', 'Running a model in OpenVINO')
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ValueError(f'openvino cannot read {path}: '
                             f'{" ".join(str(error).split())[:300]}') from error
        for node in model.get_ops():
            if node.get_type_name() == 'Constant' and node.get_element_type().is_real():
                check_numbers(path, node.get_friendly_name(), node.get_data())
        self.props = _props(model, path)
        options: Dict[str, Union[str, int]] = {'PERFORMANCE_HINT': 'LATENCY'}
        if device.lower() == 'cpu':
            # the CPU plug-in would use bfloat16 where the processor has it
            options['INFERENCE_PRECISION_HINT'] = 'f32'
            if num_threads:
                options['INFERENCE_NUM_THREADS'] = num_threads
        options.update(settings or {})
        try:
            self._model = core.compile_model(model, device.upper(), options)
        except RuntimeError as error:
            raise ValueError(f'openvino cannot compile {path} for {device}: '
                             f'{" ".join(str(error).split())[:300]}') from error
        self._request = self._model.create_infer_request()
        self.inputs = [_info(port) for port in self._model.inputs]
        self.outputs = [_info(port) for port in self._model.outputs]

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        try:
            results = self._request.infer(feed, share_inputs=True)
        except RuntimeError as error:
            raise ValueError(f'openvino cannot run {self.path}: '
                             f'{" ".join(str(error).split())[:300]}') from error
        return {info.name: results[index].copy() for index, info in enumerate(self.outputs)}

    def node_times(self) -> Dict[str, float]:
        """Return the milliseconds of each node in the last run (``PERF_COUNT`` in settings)."""
        return {info.node_name: info.real_time.total_seconds() * 1e3
                for info in self._request.profiling_info}

    def nodes(self) -> List[Any]:
        """Return the nodes of the compiled graph, in order."""
        return self._model.get_runtime_model().get_ordered_ops()

    def close(self) -> None:
        """Release the model."""
        self._request = self._model = None


def _props(model, path: str) -> Dict[str, str]:
    """Read the description from OpenVINO's run-time info, or from the ONNX file's."""
    for section in ('mmyolonas', 'framework'):
        if model.has_rt_info([section]):
            info = model.get_rt_info([section]).value
            if 'format' in info:
                return {key: value if isinstance(value, str) else value.value
                        for key, value in info.items()}
    return {}


def _info(port) -> TensorInfo:
    shape = tuple(side.get_length() if side.is_static else None for side in port.partial_shape)
    # merging nodes leaves a port with several names; ours have no dots
    name = min(port.names, key=lambda text: ('.' in text or '/' in text, len(text), text))
    return TensorInfo(name, shape, np.dtype(port.element_type.to_dtype()).name)
