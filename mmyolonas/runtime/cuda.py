"""The few CUDA calls an engine needs, through the runtime library itself.

No torch, pycuda or cuda-python: an edge device has ``libcudart`` anyway.
"""
import ctypes
import ctypes.util
import glob
import os
import sys
from typing import Any, List, Optional, Tuple

import numpy as np

from mmyolonas.utils.errors import UserError

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
NAMES = ('libcudart.so', 'libcudart.so.13', 'libcudart.so.12', 'libcudart.so.11.0',
         'cudart64_13.dll', 'cudart64_12.dll', 'cudart64_110.dll')


def _candidates() -> List[str]:
    """Return names and paths under which the library may be found."""
    found = list(NAMES)
    for folder in sys.path:
        for pattern in ('nvidia/cuda_runtime/lib/libcudart.so*', 'nvidia/cu1*/lib/libcudart.so*'):
            found += sorted(glob.glob(os.path.join(folder, pattern)))
    return found


class Cuda:
    """Memory, copies and streams of one GPU.

    Args:
        device (int): Index of the GPU. Defaults to 0.
        library (optional): The library, for tests.

    Raises:
        RuntimeError: No CUDA library or no GPU.
    """

    def __init__(self, device: int = 0, library: Optional[Any] = None) -> None:
        self._library = library or self._load()
        count = ctypes.c_int(0)
        status = self._library.cudaGetDeviceCount(ctypes.byref(count))
        if status or not count.value:
            raise UserError(
                'running a TensorRT engine needs an NVIDIA GPU with its driver, and none was '
                'found; run the ONNX file in onnxruntime or openvino instead.')
        if device >= count.value:
            raise UserError(f'there is no GPU {device}; this machine has {count.value}.')
        self._call('cudaSetDevice', ctypes.c_int(device))
        stream = ctypes.c_void_p()
        self._call('cudaStreamCreate', ctypes.byref(stream))
        self.stream = stream.value or 0

    @staticmethod
    def _load() -> Any:
        for name in _candidates():
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
        raise UserError(
            'running a TensorRT engine needs the CUDA run-time library (libcudart), which was '
            'not found; pip install nvidia-cuda-runtime-cu12, or install CUDA.')

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise UserError(f'{function} failed with CUDA error {status}.')

    def allocate(self, size: int) -> int:
        """Return the address of ``size`` bytes (at least one) on the GPU."""
        address = ctypes.c_void_p()
        self._call('cudaMalloc', ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return int(address.value or 0)

    def free(self, address: int) -> None:
        """Release what :meth:`allocate` returned."""
        self._call('cudaFree', ctypes.c_void_p(address))

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the GPU in the stream."""
        self._copy(address, array.ctypes.data, array.nbytes, HOST_TO_DEVICE)

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the GPU into a contiguous array in the stream."""
        self._copy(array.ctypes.data, address, array.nbytes, DEVICE_TO_HOST)

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._call('cudaMemcpyAsync', ctypes.c_void_p(target), ctypes.c_void_p(source),
                   ctypes.c_size_t(size), ctypes.c_int(kind), ctypes.c_void_p(self.stream))

    def synchronize(self) -> None:
        """Wait until the stream is done."""
        self._call('cudaStreamSynchronize', ctypes.c_void_p(self.stream))

    def close(self) -> None:
        """Destroy the stream."""
        if self.stream:
            self._call('cudaStreamDestroy', ctypes.c_void_p(self.stream))
            self.stream = 0


def device_identity() -> Tuple[str, str]:
    """Return (name, compute capability) of GPU 0, or ('', '') without one."""
    try:
        library = Cuda._load()
    except RuntimeError:
        return '', ''
    count = ctypes.c_int(0)
    if library.cudaGetDeviceCount(ctypes.byref(count)) or not count.value:
        return '', ''
    values = []
    for attribute in (75, 76):  # cudaDevAttrComputeCapabilityMajor, Minor
        value = ctypes.c_int(0)
        if library.cudaDeviceGetAttribute(ctypes.byref(value), attribute, 0):
            return '', ''
        values.append(str(value.value))
    # the name is the first 256 bytes of cudaDeviceProp, whose rest varies with the version
    properties = ctypes.create_string_buffer(16384)
    get_properties = getattr(library, 'cudaGetDeviceProperties_v2', None) or getattr(
        library, 'cudaGetDeviceProperties', None)
    if get_properties is None or get_properties(properties, 0):
        return '', '.'.join(values)
    return properties.raw[:256].split(b'\0')[0].decode(), '.'.join(values)
