"""TensorFlow Lite (LiteRT)."""
from typing import Any, Dict, Optional

import numpy as np

from mmyolonas.runtime.side_car_session import SideCarSession
from mmyolonas.utils.optional import require


class TfliteSession(SideCarSession):
    """A model in LiteRT. It takes and gives channels last; here they come second, as elsewhere.

    Args:
        path (str): ``.tflite`` file with the signature that onnx2tf writes.
        num_threads (int, optional): Threads; one if None.

    Raises:
        ImportError: ai-edge-litert is not installed.
        ValueError: It cannot load the file.
    """
    backend = 'tflite'

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path, num_threads)
        package = require('ai_edge_litert.interpreter', 'Running a TFLite model')
        try:
            self._interpreter: Any = package.Interpreter(path, num_threads=self.threads)
            self._run_signature: Any = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise self.cannot('load', error) from error

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        found = self._run_signature(**{
            name: np.ascontiguousarray(value.transpose(0, 2, 3, 1))
            for name, value in feed.items()})
        return self.shaped({name: value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
                            for name, value in found.items()})

    def close(self) -> None:
        """Release the model."""
        self._run_signature = self._interpreter = None
