"""Quarter turns of images with poses."""
from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PoseRandomRot90(BaseTransform):
    """Turn the image by a random multiple of 90 degrees, counterclockwise.

    As in :class:`PoseRandomFlip` a joint is a pixel and a box is made of
    edges. A turn by zero is among the four equally likely ones
    (reference.md 10.3).

    Args:
        prob (float): Probability of drawing a turn, in [0, 1].
            Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    @cache_randomness
    def _quarters(self) -> int:
        if np.random.rand() >= self.prob:
            return 0
        return int(np.random.randint(4))

    def transform(self, results: Dict) -> Dict:
        """Turn ``img``, ``bbox`` and ``keypoints`` together.

        Args:
            results (dict): With ``img`` (H, W, 3).

        Returns:
            dict: The turned sample with its new ``img_shape``.
        """
        quarters = self._quarters()
        if quarters == 0:
            return results
        height, width = results['img'].shape[:2]
        results['img'] = np.ascontiguousarray(
            np.rot90(results['img'], quarters))
        results['img_shape'] = results['img'].shape[:2]
        if results.get('keypoints') is not None:
            results['keypoints'] = self._turn(results['keypoints'], quarters,
                                              width - 1, height - 1)
        if results.get('bbox') is not None:
            corners = results['bbox'].reshape(-1, 2, 2)
            corners = self._turn(corners, quarters, width, height)
            results['bbox'] = np.concatenate(
                [corners.min(1), corners.max(1)], axis=1)
        return results

    @staticmethod
    def _turn(points: np.ndarray, quarters: int, width: int,
              height: int) -> np.ndarray:
        """Turn (..., 2) points in a frame whose last coordinates are width and height."""
        x, y = points[..., 0], points[..., 1]
        turned = ((y, width - x), (width - x, height - y), (height - y, x))
        return np.stack(turned[quarters - 1], axis=-1)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
