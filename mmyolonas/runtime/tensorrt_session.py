"""TensorRT and TensorRT-RTX."""
import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.runtime.base import Session, TensorInfo
from mmyolonas.runtime.cuda import Cuda
from mmyolonas.runtime.tensorrt_api import TensorRTApi
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import check


class TensorRTSession(Session):
    """An engine on a GPU, with TensorRT 8.6 to 11 or TensorRT-RTX.

    Args:
        path (str): Engine. Its description is read from ``<path>.json``.
        backend (str): ``'tensorrt'`` or ``'tensorrt_rtx'``.
        device (str): ``'cuda'`` or ``'cuda:1'``; ``'cpu'`` is read as
            ``'cuda'``, there being nothing else.
        api (TensorRTApi, optional): The package, for tests.
        cuda (Cuda, optional): The CUDA library, for tests.

    Raises:
        ImportError: The package is not installed.
        RuntimeError: No GPU, or the engine was built for another one or by
            another version.
    """

    def __init__(self,
                 path: str,
                 backend: str = 'tensorrt',
                 device: str = 'cuda',
                 api: Optional[TensorRTApi] = None,
                 cuda: Optional[Cuda] = None) -> None:
        super().__init__(path)
        self.backend = backend
        self._api = api or TensorRTApi(backend)
        self._cuda = cuda or Cuda(int(device.partition(':')[2] or 0))
        self._buffers: Dict[str, Tuple[int, int]] = {}
        trt = self._api.trt
        self._api.load_plugins()
        with open(path, 'rb') as file:
            plan = file.read()
        self._runtime = trt.Runtime(self._api.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise UserError(
                f'{backend} {self._api.version} cannot load {path}: {self._api.last_error()}. '
                'An engine belongs to the version and the GPU it was built with; build it '
                'again from the ONNX file.')
        self._context = self._engine.create_execution_context()
        self._read_tensors()
        side_car = f'{path}.json'
        if os.path.exists(side_car):
            self.props = read_json(side_car, 'the description of an engine',
                                   check=lambda props: check(Dict[str, str], props),
                                   advice='Build the engine again.')

    def _read_tensors(self) -> None:
        trt = self._api.trt
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple(None if side < 0 else side
                          for side in self._engine.get_tensor_shape(name))
            dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))).name
            if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                smallest, _, largest = self._engine.get_tensor_profile_shape(name, 0)
                limits = tuple(smallest), tuple(largest)
                self.inputs.append(TensorInfo(name, shape, dtype, limits))
            else:
                self.outputs.append(TensorInfo(name, shape, dtype))

    def _buffer(self, name: str, size: int) -> int:
        """Return a device buffer of at least ``size`` bytes, kept between runs."""
        address, capacity = self._buffers.get(name, (0, -1))
        if capacity < size:
            if address:
                self._cuda.free(address)
            address = self._cuda.allocate(size)
            self._buffers[name] = address, size
        return address

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        context, cuda = self._context, self._cuda
        arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        for name, array in arrays.items():
            context.set_input_shape(name, array.shape)
            address = self._buffer(name, array.nbytes)
            cuda.upload(address, array)
            context.set_tensor_address(name, address)
        results = {}
        for info in self.outputs:
            shape = tuple(context.get_tensor_shape(info.name))
            if any(side < 0 for side in shape):
                raise UserError(
                    f'the size of output {info.name!r} depends on the data; export the model '
                    'with padded detections (nms="onnx" of this package pads).')
            results[info.name] = np.empty(shape, info.dtype)
            address = self._buffer(info.name, results[info.name].nbytes)
            context.set_tensor_address(info.name, address)
        if not context.execute_async_v3(cuda.stream):
            raise UserError(f'the engine failed to run: {self._api.last_error()}')
        for name, array in results.items():
            cuda.download(array, self._buffers[name][0])
        cuda.synchronize()
        return results

    def layer_times(self, feed: Dict[str, np.ndarray],
                    repeats: int = 20) -> List[Tuple[str, float]]:
        """Return the median time of every layer in milliseconds, in execution order.

        Args:
            feed (dict[str, ndarray]): Inputs.
            repeats (int): Measured runs, after three that are not.
        """
        profiler = _make_profiler(self._api.trt)
        self._context.profiler = profiler
        for index in range(repeats + 3):
            if index == 3:
                profiler.times.clear()
            self.run(feed)
        return [(name, float(np.median(times))) for name, times in profiler.times.items()]

    def close(self) -> None:
        """Release engine, buffers and stream."""
        for address, _ in self._buffers.values():
            self._cuda.free(address)
        self._buffers.clear()
        self._context = self._engine = self._runtime = None
        self._cuda.close()


def _make_profiler(trt: Any) -> Any:

    class _Profiler(trt.IProfiler):

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: Dict[str, List[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    return _Profiler()
