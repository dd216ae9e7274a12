"""Random exchange of red and blue."""
from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PoseReverseChannels(BaseTransform):
    """Turn BGR into RGB, or back, with some probability.

    Part of the heavy augmentation of the M and L models (specification,
    section 9.4).

    Args:
        prob (float): Probability in [0, 1]. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    @cache_randomness
    def _chosen(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: Dict) -> Dict:
        """Reverse the last axis of ``img``.

        Args:
            results (dict): With ``img`` (H, W, C).

        Returns:
            dict: The same with the changed image.
        """
        if self._chosen():
            results['img'] = np.ascontiguousarray(results['img'][..., ::-1])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
