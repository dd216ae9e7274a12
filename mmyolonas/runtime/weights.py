"""Are the weights in an exported file numbers? Without the package onnx."""
from typing import Any, Iterator, Tuple

import numpy as np

#: Fields of ONNX's messages that lead to the weights (onnx.proto3).
_GRAPH, _INITIALIZER = 7, 5
_TYPE, _FLOATS, _DOUBLES, _NAME, _RAW = 2, 4, 10, 8, 9
#: numpy's types of raw data by ONNX's number; bfloat16 is looked at as bits.
_RAW_TYPES = {1: '<f4', 10: '<f2', 11: '<f8', 16: '<u2'}


def check_numbers(path: str, name: str, values: np.ndarray) -> None:
    """Raise if there is NaN among the weights ``name`` of a file.

    Raises:
        ValueError: There is.
    """
    # the largest of values with NaN is NaN, and needs no memory
    if values.size and values.dtype.kind == 'f' and np.isnan(values.max()):
        raise ValueError(f'{path} holds weights that are not numbers ({name}): the training '
                         'diverged; export a sound checkpoint.')


def check_onnx_weights(path: str) -> None:
    """Raise if an ONNX file holds weights that are not numbers.

    The file is not copied into memory. Weights in files beside it are not looked at.

    Args:
        path (str): A file that a runtime has accepted.

    Raises:
        ValueError: There is NaN among them.
    """
    data = np.memmap(path, np.uint8, 'r').data
    graphs = (value for number, value in _fields(data) if number == _GRAPH)
    tensors = (value for graph in graphs for number, value in _fields(graph)
               if number == _INITIALIZER)
    try:
        for tensor in tensors:
            _check_tensor(path, tensor)
    except (IndexError, TypeError):
        pass  # the runtime reads it another way


def _check_tensor(path: str, tensor: memoryview) -> None:
    kind, name, arrays = 0, '', []
    for number, value in _fields(tensor):
        if number == _TYPE:
            kind = value
        elif number == _NAME:
            name = bytes(value).decode('utf-8', 'replace')
        elif number in (_RAW, _FLOATS, _DOUBLES):
            arrays.append((number, value))
    for number, value in arrays:
        dtype = {_FLOATS: '<f4', _DOUBLES: '<f8'}.get(number) or _RAW_TYPES.get(kind)
        if dtype is None or not isinstance(value, memoryview):
            continue
        values = np.frombuffer(value, dtype)
        if dtype == '<u2':  # bfloat16: the upper half of a float32
            values = (values.astype('<u4') << 16).view('<f4')
        check_numbers(path, name, values)


def _fields(message: memoryview) -> Iterator[Tuple[int, Any]]:
    """Yield number and value of the fields of a protobuf message."""
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == 0:
            value, place = _varint(message, place)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                length, place = _varint(message, place)
            elif length is None:
                raise IndexError(f'unknown wire type {kind}')
            value, place = message[place:place + length], place + length
        yield number, value


def _varint(message: memoryview, place: int) -> Tuple[int, int]:
    result = shift = 0
    while True:
        byte = message[place]
        result |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return result, place
