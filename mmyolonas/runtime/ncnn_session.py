"""ncnn."""
import os
from typing import Dict, Optional

import numpy as np

from mmyolonas.runtime.side_car_session import SideCarSession
from mmyolonas.utils.optional import require


class NcnnSession(SideCarSession):
    """A model in ncnn, in 32 bit.

    pnnx calls inputs ``in0``, ... and outputs ``out0``, ... in the order of the ONNX file.

    Args:
        path (str): ``.param``, with its ``.bin`` beside it.
        num_threads (int, optional): Threads; one if None.

    Raises:
        ImportError: ncnn is not installed.
        ValueError: It cannot load the file.
    """
    backend = 'ncnn'

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path, num_threads)
        self._ncnn = require('ncnn', 'Running an ncnn model')
        weights = f'{os.path.splitext(path)[0]}.bin'
        if not os.path.isfile(weights):
            raise ValueError(f'{path} needs its weights beside it: there is no {weights}.')
        self._net = self._ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.num_threads = self.threads
        for name in dir(options):  # half precision moves boxes by pixels
            if name.startswith('use_') and ('fp16' in name or 'bf16' in name):
                setattr(options, name, False)
        if self._net.load_param(path) or self._net.load_model(weights):
            raise self.cannot('load', 'it is damaged, or of another version')

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        extractor = self._net.create_extractor()
        images = np.ascontiguousarray(feed[self.inputs[0].name][0])
        extractor.input('in0', self._ncnn.Mat(images))
        values = {}
        for index, info in enumerate(self.outputs):
            failed, value = extractor.extract(f'out{index}')
            if failed:
                raise self.cannot('run', f'no output out{index}')
            values[info.name] = np.array(value)
        return self.shaped(values)

    def close(self) -> None:
        """Release the model."""
        self._net.clear()
