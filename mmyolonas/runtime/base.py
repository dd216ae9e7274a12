"""Interface of a loaded model."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.export.metadata import ModelMetadata


@dataclass
class TensorInfo:
    """One input or output of a model.

    Args:
        name (str): Name.
        shape (tuple): Sides; None where the size is free.
        dtype (str): numpy's name of the type, for example ``'float32'``.
        limits (tuple, optional): Smallest and largest shape an engine's
            profile accepts.
    """
    name: str
    shape: Tuple[Optional[int], ...]
    dtype: str
    limits: Optional[Tuple[Tuple[int, ...], Tuple[int, ...]]] = None

    def check(self, array: np.ndarray) -> None:
        """Complain about an array that does not fit.

        Args:
            array (ndarray): What is to be the input.

        Raises:
            TypeError: Another type of number.
            ValueError: Another shape, or one outside the profile.
        """
        if array.dtype != np.dtype(self.dtype):
            raise TypeError(
                f'input {self.name!r} takes {self.dtype}, got {array.dtype}; '
                f'convert it with array.astype({self.dtype!r}).')
        expected = ' x '.join('?' if side is None else str(side) for side in self.shape)
        got = ' x '.join(map(str, array.shape))
        if len(array.shape) != len(self.shape) or any(
                side is not None and side != given
                for side, given in zip(self.shape, array.shape)):
            raise ValueError(
                f'input {self.name!r} takes the shape {expected}, got {got}; resize and pad '
                'the image as the meta data says, or export with a dynamic shape.')
        if self.limits is not None:
            smallest, largest = self.limits
            if any(not low <= given <= high
                   for low, given, high in zip(smallest, array.shape, largest)):
                raise ValueError(
                    f"input {self.name!r} of shape {got} is outside the engine's profile "
                    f'({" x ".join(map(str, smallest))} to {" x ".join(map(str, largest))}); '
                    'use smaller batches or build the engine with a larger profile.')


class Session(ABC):
    """A loaded model: named arrays in, named arrays out.

    Use it as a context manager, or call :meth:`close`.

    Attributes:
        path (str): File.
        backend (str): Runtime.
        inputs (list[TensorInfo]): Inputs.
        outputs (list[TensorInfo]): Outputs.
        props (dict[str, str]): Properties stored with the model.
    """
    backend = ''

    def __init__(self, path: str) -> None:
        self.path = path
        self.inputs: List[TensorInfo] = []
        self.outputs: List[TensorInfo] = []
        self.props: Dict[str, str] = {}

    @property
    def metadata(self) -> ModelMetadata:
        """ModelMetadata: Description stored with the model."""
        return ModelMetadata.from_props(self.props, self.path)

    def run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Run the model.

        Args:
            feed (dict[str, ndarray]): Every input by name.

        Returns:
            dict[str, ndarray]: Every output by name.

        Raises:
            KeyError: An input is missing or unknown.
            TypeError: Wrong type of number.
            ValueError: Wrong shape.
        """
        names = [info.name for info in self.inputs]
        if sorted(feed) != sorted(names):
            raise KeyError(f'the model takes the inputs {names}, got {sorted(feed)}.')
        for info in self.inputs:
            info.check(feed[info.name])
        return self._run(feed)

    def __call__(self, image: np.ndarray) -> List[np.ndarray]:
        """Run a model of one input; return its outputs in the file's order."""
        return list(self.run({self.inputs[0].name: image}).values())

    @abstractmethod
    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Run the checked feed."""

    def close(self) -> None:  # noqa: B027, not every runtime holds something
        """Release the model."""

    def __enter__(self) -> 'Session':
        return self

    def __exit__(self, *_) -> None:
        self.close()
