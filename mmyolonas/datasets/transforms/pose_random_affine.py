"""Random rotation and scaling of images with poses."""
from typing import Dict, Optional, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS

from .pose_functional import sanitize, transform_boxes

INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC,
                  cv2.INTER_AREA, cv2.INTER_LANCZOS4)


@TRANSFORMS.register_module()
class PoseRandomAffine(BaseTransform):
    """Rotate and scale about a random centre, keeping the image size.

    The translation range moves the centre, ``(W / 2 + dx * W, H / 2 + dy *
    H)``, and not the picture: without rotation and scaling it has no effect.
    This is how the published models were trained and is kept on purpose.

    Boxes become the hull of their turned corners. Joints that leave the image
    become invisible, boxes are clamped to it, areas change by the determinant
    and by the share of the box that is left (reference.md 10.3).

    Args:
        max_rotation (float): Largest angle in degrees. Defaults to 5.
        scale_range (tuple[float, float]): Range of the factor.
            Defaults to (0.75, 1.5).
        max_translate (float): Largest shift of the centre as a share of the
            image. Defaults to 0.1.
        prob (float): Probability in [0, 1]. Defaults to 0.75.
        pad_val (float): Grey value of what lies outside. Defaults to 127.
    """

    def __init__(self,
                 max_rotation: float = 5,
                 scale_range: Tuple[float, float] = (0.75, 1.5),
                 max_translate: float = 0.1,
                 prob: float = 0.75,
                 pad_val: float = 127) -> None:
        self.max_rotation = max_rotation
        self.scale_range = tuple(scale_range)
        self.max_translate = max_translate
        self.prob = prob
        self.pad_val = pad_val

    @cache_randomness
    def _parameters(self) -> Optional[Tuple[float, float, float, float, int]]:
        """Draw angle, scale, shift of the centre and interpolation."""
        if np.random.rand() >= self.prob:
            return None
        angle = np.random.uniform(-self.max_rotation, self.max_rotation)
        scale = np.random.uniform(*self.scale_range)
        shift = np.random.uniform(-self.max_translate, self.max_translate, 2)
        mode = INTERPOLATIONS[np.random.randint(len(INTERPOLATIONS))]
        return angle, scale, shift[0], shift[1], mode

    def transform(self, results: Dict) -> Dict:
        """Warp ``img`` and everything that lies on it.

        Args:
            results (dict): With ``img`` (H, W, 3).

        Returns:
            dict: The warped or the unchanged sample.
        """
        parameters = self._parameters()
        if parameters is None:
            return results
        angle, scale, dx, dy, mode = parameters
        height, width = results['img'].shape[:2]
        center = (width / 2 + dx * width, height / 2 + dy * height)
        matrix = cv2.getRotationMatrix2D(center, angle, scale)
        results['img'] = cv2.warpAffine(
            results['img'],
            matrix, (width, height),
            flags=mode,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(self.pad_val, ) * 3)
        if results.get('keypoints') is not None:
            points = results['keypoints'] @ matrix[:, :2].T + matrix[:, 2]
            results['keypoints'] = points.astype(np.float32)
        if results.get('bbox') is not None:
            results['bbox'] = transform_boxes(results['bbox'], matrix)
        if results.get('area') is not None:
            factor = abs(np.linalg.det(matrix[:, :2]))
            results['area'] = (results['area'] * factor).astype(np.float32)
        return sanitize(results, height, width)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(max_rotation={self.max_rotation}, '
                f'scale_range={self.scale_range}, '
                f'max_translate={self.max_translate}, prob={self.prob}, '
                f'pad_val={self.pad_val})')
