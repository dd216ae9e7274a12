"""Random order of the colour channels."""
from typing import Dict

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomChannelSwap(BaseTransform):
    """Exchange the first and the third channel (BGR and RGB) at random.

    The published recipe does this with probability 0.5, so its models see
    both channel orders (reference.md 10.1, step 3).

    Required Keys:

    - img

    Modified Keys:

    - img

    Args:
        prob (float): Probability in [0, 1]. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must lie in [0, 1], got {prob}')
        self.prob = prob

    @cache_randomness
    def _swap(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: Dict) -> Dict:
        """Swap the channels of ``results['img']`` with probability ``prob``.

        Args:
            results (dict): The result dictionary.

        Returns:
            dict: The updated dictionary.
        """
        if self._swap():
            results['img'] = cv2.cvtColor(results['img'], cv2.COLOR_BGR2RGB)
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(prob={self.prob})'
