"""What the sessions of formats without a description of their own share."""
from typing import Dict, Optional

import numpy as np

from mmyolonas.runtime.base import Session
from mmyolonas.runtime.side_car import read_side_car


class SideCarSession(Session):
    """A model whose description lies beside it.

    Args:
        path (str): File.
        num_threads (int, optional): Threads; one if None.

    Raises:
        UserError: There is no description.
    """

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path)
        side_car = read_side_car(path)
        self.props = side_car.props
        self.inputs, self.outputs = side_car.infos()
        self.threads = num_threads or 1

    def cannot(self, what: str, error: object) -> ValueError:
        """Return the error of a file that the runtime does not take."""
        return ValueError(f'{self.backend} cannot {what} {self.path}: '
                          f'{" ".join(str(error).split())[:300]}')

    def shaped(self, values: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Return outputs in the shapes and the order of the description.

        Args:
            values (dict[str, ndarray]): Outputs by name, batch axis or not.

        Raises:
            ValueError: One has another number of values.
        """
        result = {}
        for info in self.outputs:
            value, shape = values[info.name], tuple(int(side or 0) for side in info.shape)
            if value.size != int(np.prod(shape)):
                raise ValueError(f'{self.path} gives {info.name} of shape {value.shape}, by its '
                                 f'description {shape}; convert it again.')
            result[info.name] = np.ascontiguousarray(value, np.dtype(info.dtype)).reshape(shape)
        return result
