"""Mirroring of images with poses."""
from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PoseRandomFlip(BaseTransform):
    """Mirror the image left to right and exchange left and right joints.

    A joint is a pixel (``x -> W - x - 1``), a box is made of edges
    (``x -> W - x``). mmpose's ``RandomFlip`` treats boxes as pixels, which
    moves them by one pixel against the joints (reference.md 10.3).

    Args:
        prob (float): Probability in [0, 1]. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    @cache_randomness
    def _chosen(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: Dict) -> Dict:
        """Mirror with probability ``prob``.

        Args:
            results (dict): With ``img`` and, where there are key points,
                ``flip_indices`` (for each joint, the one it changes with).

        Returns:
            dict: The mirrored or the unchanged sample, with ``flip`` and
            ``flip_direction``.
        """
        results['flip'] = self._chosen()
        results['flip_direction'] = 'horizontal' if results['flip'] else None
        if not results['flip']:
            return results
        width = results['img'].shape[1]
        results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
        if results.get('bbox') is not None:
            boxes = results['bbox'].copy()
            boxes[:, [0, 2]] = width - results['bbox'][:, [2, 0]]
            results['bbox'] = boxes
        if results.get('keypoints') is not None:
            order = list(results['flip_indices'])
            count = results['keypoints'].shape[1]
            if len(order) != count:
                raise ValueError(
                    f'flip_indices names {len(order)} key points, the sample '
                    f'has {count}: correct keypoint_info in the metainfo of '
                    'the data set.')
            points = results['keypoints'][:, order].copy()
            points[..., 0] = width - points[..., 0] - 1
            results['keypoints'] = points
            results['keypoints_visible'] = results['keypoints_visible'][:,
                                                                        order]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
