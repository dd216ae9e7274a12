"""ExecuTorch. Its own Python bindings take torch tensors, so this session needs torch."""
from typing import Dict, Optional

import numpy as np

from mmyolonas.runtime.side_car_session import SideCarSession
from mmyolonas.utils.optional import require


class ExecuTorchSession(SideCarSession):
    """A model in ExecuTorch, lowered to XNNPACK.

    Args:
        path (str): ``.pte`` file.
        num_threads (int, optional): Not used; XNNPACK takes its own.

    Raises:
        ImportError: executorch is not installed.
        ValueError: It cannot load the file.
    """
    backend = 'executorch'

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path, num_threads)
        package = require('executorch.runtime', 'Running an ExecuTorch program')
        self._torch = require('torch', 'Running an ExecuTorch program')
        try:
            self._program = package.Runtime.get().load_program(path)
            self._method = self._program.load_method('forward')
        except (RuntimeError, ValueError) as error:
            raise self.cannot('load', error) from error

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        image = self._torch.from_numpy(np.ascontiguousarray(feed[self.inputs[0].name]))
        found = self._method.execute([image])
        return self.shaped({info.name: value.numpy().copy()
                            for info, value in zip(self.outputs, found)})

    def close(self) -> None:
        """Release the program."""
        self._method = self._program = None
