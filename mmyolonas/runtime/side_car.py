"""The description that lies beside a file whose format has no place for it.

``<file>.json`` holds the properties of the ONNX file (as strings), and names, shapes and types
of inputs and outputs, since some formats rename or reorder them.
"""
import os
from dataclasses import asdict, dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from mmyolonas.runtime.base import TensorInfo
from mmyolonas.utils.files import read_json, write_json
from mmyolonas.utils.typed import build


@dataclass
class Tensor:
    """One input or output.

    Args:
        name (str): Name in the ONNX file.
        shape (list[int]): Sides.
        dtype (str): numpy's name of the type.
    """
    name: str
    shape: List[int]
    dtype: str = 'float32'


@dataclass
class SideCar:
    """What ``<file>.json`` holds.

    Args:
        props (dict[str, str]): See
            :meth:`mmyolonas.export.metadata.ModelMetadata.to_props`.
        inputs (list[Tensor]): Inputs, in order.
        outputs (list[Tensor]): Outputs, in order.
    """
    props: Dict[str, str]
    inputs: List[Tensor]
    outputs: List[Tensor]

    def infos(self) -> Tuple[List[TensorInfo], List[TensorInfo]]:
        """Return inputs and outputs as sessions have them."""
        first, second = ([TensorInfo(item.name, tuple(item.shape), item.dtype) for item in items]
                         for items in (self.inputs, self.outputs))
        return first, second


def side_car_path(path: str) -> str:
    """Return the name of the description of a file or folder."""
    return f'{os.fspath(path).rstrip("/")}.json'


def write_side_car(path: str, side_car: SideCar) -> str:
    """Write the description beside a file.

    Args:
        path (str): The file.
        side_car (SideCar): Its description.

    Returns:
        str: The file written.
    """
    target = side_car_path(path)
    write_json(target, asdict(side_car))
    return target


def read_side_car(path: str) -> SideCar:
    """Read the description beside a file.

    Args:
        path (str): The file.

    Returns:
        SideCar: Its description.

    Raises:
        UserError: There is none, or it is damaged.
    """
    return read_json(side_car_path(path), 'the description of a converted file',
                     check=lambda values: _build(values),
                     advice='Convert again with tools/deploy.py, and keep both files together.')


def _build(values: dict) -> SideCar:
    side_car = build(SideCar, values)
    if not side_car.inputs or not side_car.outputs:
        raise ValueError('it names no inputs or no outputs')
    for item in (*side_car.inputs, *side_car.outputs):
        if item.dtype not in ('float32', 'uint8', 'int64', 'int32') or not all(
                0 < side < 2**31 for side in item.shape):
            raise ValueError(f'{item.name} is {item.dtype} {item.shape}')
    return side_car


def tensors(infos: Sequence[TensorInfo]) -> Optional[List[Tensor]]:
    """Return inputs or outputs of a session as a description has them; None for free sides."""
    if any(side is None for info in infos for side in info.shape):
        return None
    return [Tensor(info.name, [int(side or 0) for side in info.shape], info.dtype)
            for info in infos]
