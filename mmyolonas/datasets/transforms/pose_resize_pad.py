"""Letterbox of YOLO-NAS-Pose."""
from typing import Dict, Tuple, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmyolonas.registry import TRANSFORMS

from .pose_functional import scale_and_shift


@TRANSFORMS.register_module()
class PoseResizePad(BaseTransform):
    """Fit the image into the input size and pad the rest.

    The longest side decides the scale, small images are enlarged. The resized
    side is ``int(side * scale + 0.5)``. ``input_size``, ``input_center`` and
    ``input_scale`` let mmpose's ``BottomupPoseEstimator`` (and mmdeploy) map
    predictions back to the original image, whichever corner the picture sits
    in. Annotations, if present, move along.

    Training of the published models centres the picture, evaluation and
    prediction put it in the top-left corner (reference.md 9.3).

    Args:
        input_size (tuple[int, int] | int): (width, height) of the result in
            pixels; one number for a square.
        pad_val (float): Grey value of the padding. Defaults to 127.
        center (bool): Whether to centre the picture instead of padding at the
            bottom and on the right. Defaults to False.
    """

    def __init__(self,
                 input_size: Union[int, Tuple[int, int]] = (640, 640),
                 pad_val: float = 127,
                 center: bool = False) -> None:
        if isinstance(input_size, int):
            input_size = (input_size, input_size)
        if len(input_size) != 2 or min(input_size) <= 0:
            raise ValueError('PoseResizePad needs input_size=(width, height) '
                             f'with positive numbers, got {input_size}.')
        self.input_size = tuple(int(side) for side in input_size)
        self.pad_val = pad_val
        self.center = center

    def transform(self, results: Dict) -> Dict:
        """Resize and pad ``img`` and everything that lies on it.

        Args:
            results (dict): With ``img`` (H, W, 3).

        Returns:
            dict: The same with new ``img``, ``img_shape`` and annotations,
            and with ``input_size``, ``input_center``, ``input_scale``.
        """
        image = results['img']
        height, width = image.shape[:2]
        scale = min(self.input_size[0] / width, self.input_size[1] / height)
        new_w = max(1, int(width * scale + 0.5))
        new_h = max(1, int(height * scale + 0.5))
        if (new_w, new_h) != (width, height):
            image = cv2.resize(
                image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
        left = top = 0
        if self.center:
            left = (self.input_size[0] - new_w) // 2
            top = (self.input_size[1] - new_h) // 2
        canvas = np.full((self.input_size[1], self.input_size[0]) +
                         image.shape[2:], self.pad_val, image.dtype)
        canvas[top:top + new_h, left:left + new_w] = image

        results['img'] = canvas
        results['img_shape'] = canvas.shape[:2]
        scale_and_shift(results, scale, (left, top))
        input_scale = np.array(self.input_size, np.float64) / scale
        offset = np.array([left, top], np.float64) / scale
        results['input_size'] = self.input_size
        results['input_scale'] = input_scale
        results['input_center'] = input_scale / 2 - offset
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(input_size={self.input_size}, '
                f'pad_val={self.pad_val}, center={self.center})')
