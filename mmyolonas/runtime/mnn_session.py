"""MNN."""
from typing import Dict, Optional

import numpy as np

from mmyolonas.runtime.side_car_session import SideCarSession
from mmyolonas.utils.optional import require


class MnnSession(SideCarSession):
    """A model in MNN, in 32 bit.

    Args:
        path (str): ``.mnn`` file.
        num_threads (int, optional): Threads; one if None.

    Raises:
        ImportError: MNN is not installed.
        ValueError: It cannot load the file.
    """
    backend = 'mnn'

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path, num_threads)
        self._mnn = require('MNN', 'Running an MNN model')
        # 'normal' would take half precision where the processor has it
        runtime = self._mnn.nn.create_runtime_manager(
            (dict(backend='CPU', precision='high', numThread=self.threads), ))
        try:
            self._net = self._mnn.nn.load_module_from_file(
                path, [info.name for info in self.inputs], [info.name for info in self.outputs],
                runtime_manager=runtime)
        except Exception as error:  # its own types
            raise self.cannot('load', error) from error
        if self._net is None:
            raise self.cannot('load', 'it is damaged, or of another version')

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        expr, image = self._mnn.expr, feed[self.inputs[0].name]
        placeholder = expr.placeholder(list(image.shape), expr.NCHW)
        placeholder.write(np.ascontiguousarray(image))
        found = self._net.onForward([placeholder])
        if len(found) != len(self.outputs):
            raise self.cannot('run', f'{len(found)} outputs')
        return self.shaped({info.name: np.array(expr.convert(value, expr.NCHW).read())
                            for info, value in zip(self.outputs, found)})

    def close(self) -> None:
        """Release the model."""
        self._net = None
