"""Padding with the image in the centre."""
from typing import Dict, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmyolonas.registry import TRANSFORMS

from .functional import boxes_like, boxes_to_numpy


@TRANSFORMS.register_module()
class CenterPad(BaseTransform):
    """Pad an image to a fixed size, half of the border on each side.

    An odd pixel goes to the right or the bottom. This is the padding of the
    published detection models' validation (reference.md 9.1); their
    training pads right and bottom only, for which mmdet's ``Pad`` serves.

    Required Keys:

    - img
    - gt_bboxes (HorizontalBoxes or ndarray, xyxy pixels) (optional)

    Modified Keys:

    - img
    - img_shape
    - gt_bboxes
    - homography_matrix (optional)

    Added Keys:

    - pad_shape (tuple[int]): Shape of the padded image.
    - pad_param (ndarray): ``[top, bottom, left, right]`` in pixels, float32;
      the head subtracts left and top before it divides by ``scale_factor``.

    Args:
        size (tuple[int, int]): Width and height after padding.
        pad_val (int): Grey value of the border, 0 to 255. Defaults to 114.

    Raises:
        ValueError: If the image is larger than ``size``.
    """

    def __init__(self, size: Tuple[int, int] = (640, 640), pad_val: int = 114) -> None:
        self.size = tuple(size)
        self.pad_val = pad_val

    def transform(self, results: Dict) -> Dict:
        """Pad ``results['img']`` and shift its boxes.

        Args:
            results (dict): The result dictionary.

        Returns:
            dict: The updated dictionary.
        """
        img = results['img']
        height, width = img.shape[:2]
        spare_w, spare_h = self.size[0] - width, self.size[1] - height
        if spare_w < 0 or spare_h < 0:
            raise ValueError(
                f'an image of {width}x{height} pixels does not fit into CenterPad(size='
                f"{self.size}): put dict(type='Resize', scale=..., keep_ratio=True) before it")
        left, top = spare_w // 2, spare_h // 2
        right, bottom = spare_w - left, spare_h - top
        results['img'] = cv2.copyMakeBorder(
            img, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(self.pad_val, ) * 3)
        results['img_shape'] = results['img'].shape[:2]
        results['pad_shape'] = results['img'].shape
        results['pad_param'] = np.array([top, bottom, left, right], dtype=np.float32)
        if results.get('gt_bboxes') is not None:
            shift = np.array([left, top, left, top], dtype=np.float32)
            results['gt_bboxes'] = boxes_like(
                boxes_to_numpy(results) + shift, results['gt_bboxes'])
        if results.get('homography_matrix') is not None:
            translation = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=np.float32)
            results['homography_matrix'] = translation @ results['homography_matrix']
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(size={self.size}, pad_val={self.pad_val})'
