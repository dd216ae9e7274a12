"""Brightness and contrast of the pose recipe."""
from typing import Dict, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PoseBrightnessContrast(BaseTransform):
    """Change brightness and contrast around the mean of each channel.

    ``(img - m) * contrast + m * brightness`` with the channel means ``m``,
    clipped to [0, 255] and truncated (reference.md 10.3).

    Args:
        brightness_range (tuple[float, float]): Range of the factor of the
            mean. Defaults to (0.8, 1.2).
        contrast_range (tuple[float, float]): Range of the factor of the
            deviation from the mean. Defaults to (0.8, 1.2).
        prob (float): Probability in [0, 1] of changing both.
            Defaults to 0.5.
    """

    def __init__(self,
                 brightness_range: Tuple[float, float] = (0.8, 1.2),
                 contrast_range: Tuple[float, float] = (0.8, 1.2),
                 prob: float = 0.5) -> None:
        self.brightness_range = tuple(brightness_range)
        self.contrast_range = tuple(contrast_range)
        self.prob = prob

    @cache_randomness
    def _factors(self) -> Tuple[float, float]:
        if np.random.rand() >= self.prob:
            return 1.0, 1.0
        return (np.random.uniform(*self.brightness_range),
                np.random.uniform(*self.contrast_range))

    def transform(self, results: Dict) -> Dict:
        """Change ``img``.

        Args:
            results (dict): With ``img`` (H, W, C) in [0, 255].

        Returns:
            dict: The same with the changed image, of the same type.
        """
        brightness, contrast = self._factors()
        if brightness == 1 and contrast == 1:
            return results
        image = results['img']
        # For 8-bit images the map is a table of 256 values a channel.
        mean = image.mean(axis=(0, 1), dtype=np.float64)
        if image.dtype == np.uint8:
            levels = np.arange(256, dtype=np.float64)[:, None]
            table = self._map(levels, mean, brightness, contrast)
            table = table.astype(np.uint8)
            results['img'] = np.stack(
                [table[image[..., c], c] for c in range(image.shape[2])],
                axis=-1)
        else:
            results['img'] = self._map(image, mean, brightness,
                                       contrast).astype(image.dtype)
        return results

    @staticmethod
    def _map(image: np.ndarray, mean: np.ndarray, brightness: float,
             contrast: float) -> np.ndarray:
        return np.clip((image - mean) * contrast + mean * brightness, 0, 255)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}('
                f'brightness_range={self.brightness_range}, '
                f'contrast_range={self.contrast_range}, prob={self.prob})')
