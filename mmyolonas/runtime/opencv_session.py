"""OpenCV's dnn module, on the ONNX file itself."""
from typing import Any, Dict, Optional

import numpy as np

from mmyolonas.export.flavours.table import flavour_of
from mmyolonas.runtime.base import Session, TensorInfo
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.optional import require


class OpenCVSession(Session):
    """A model in ``cv2.dnn``.

    Suppression within the file is refused: OpenCV 5.0 keeps the number of rows of the frame
    before when a net is used again, and gives wrong boxes without a word.

    Args:
        path (str): ``.onnx`` file of fixed shape, without suppression.
        num_threads (int, optional): Threads, of OpenCV as a whole.

    Raises:
        ImportError: OpenCV or onnx is not installed.
        UserError: The file suppresses, or has free sides.
        ValueError: OpenCV cannot read it.
    """
    backend = 'opencv'

    def __init__(self, path: str, num_threads: Optional[int] = None) -> None:
        super().__init__(path)
        cv2 = require('cv2', 'Running a model in OpenCV')
        onnx = require('onnx', 'Reading the description of an ONNX file')
        model: Any = onnx.load(path)
        self.props = {prop.key: prop.value for prop in model.metadata_props}
        self.inputs, self.outputs = ([_info(value, onnx) for value in values]
                                     for values in (model.graph.input, model.graph.output))
        if 'format' in self.props and flavour_of(self.metadata.postprocess.nms).suppressed:
            raise UserError(f'{path} suppresses, which OpenCV 5 does wrongly on every frame but '
                            'the first; export it with nms_type="none" '
                            '(configs/deploy/detection_opencv.py).')
        if any(side is None for side in self.inputs[0].shape):
            raise UserError(f'{path} has free sides, which OpenCV 4 cannot read; export it with a '
                            'fixed shape (configs/deploy/detection_opencv.py).')
        if num_threads:
            cv2.setNumThreads(num_threads)
        self._error = cv2.error
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(path)
        except cv2.error as error:
            raise self._cannot('read', error) from error

    def _cannot(self, what: str, error: Exception) -> ValueError:
        return ValueError(f'opencv cannot {what} {self.path}: '
                          f'{" ".join(str(error).split())[:300]}')

    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        names = [info.name for info in self.outputs]
        try:
            for name, value in feed.items():
                self._net.setInput(value, name)
            found = self._net.forward(names)
        except self._error as error:
            raise self._cannot('run', error) from error
        return {name: np.array(value) for name, value in zip(names, found)}

    def close(self) -> None:
        """Release the model."""
        self._net = None


def _info(value: Any, onnx: Any) -> TensorInfo:
    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorInfo(value.name, tuple(side.dim_value or None for side in tensor.shape.dim), kind)
