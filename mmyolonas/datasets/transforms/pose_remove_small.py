"""Filter of instances that are too small to learn from."""
from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform

from mmyolonas.registry import TRANSFORMS

from .pose_functional import select_instances, visibility


@TRANSFORMS.register_module()
class PoseRemoveSmall(BaseTransform):
    """Remove instances without enough area or visible joints.

    Unlike mmpose's ``FilterAnnotations`` it keeps an image that has lost all
    its instances: such images are negatives (reference.md 10.3).

    Args:
        min_area (float): Smallest area of the box in square pixels.
            Defaults to 1.
        min_visible (int): Smallest number of visible joints. Defaults to 1.
    """

    def __init__(self, min_area: float = 1, min_visible: int = 1) -> None:
        self.min_area = min_area
        self.min_visible = min_visible

    def transform(self, results: Dict) -> Dict:
        """Drop instances from every per-instance key.

        Args:
            results (dict): The sample, with or without instances.

        Returns:
            dict: The sample with what is left.
        """
        if results.get('bbox') is None:
            return results
        boxes = results['bbox']
        size = (boxes[:, 2:] - boxes[:, :2]).clip(min=0)
        keep = np.prod(size, axis=1) >= self.min_area
        if results.get('keypoints_visible') is not None:
            visible = visibility(results['keypoints_visible']) > 0
            keep &= visible.sum(axis=1) >= self.min_visible
        return select_instances(results, keep)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(min_area={self.min_area}, '
                f'min_visible={self.min_visible})')
