"""Checks and repairs of freshly loaded pose annotations."""
from typing import Dict, Optional

from mmcv.transforms import BaseTransform

from mmyolonas.registry import TRANSFORMS

from .pose_functional import sanitize


@TRANSFORMS.register_module()
class PoseSanitize(BaseTransform):
    """Fit annotations to the image right after loading.

    Joints outside the image become invisible, boxes are clamped to it and
    areas shrink along (reference.md 10.3). A wrong number of key
    points is reported here, where the file can still be named.

    Args:
        num_keypoints (int, optional): Number of key points the model expects.
            None checks against the data set's ``flip_indices``.
    """

    def __init__(self, num_keypoints: Optional[int] = None) -> None:
        self.num_keypoints = num_keypoints

    def transform(self, results: Dict) -> Dict:
        """Check and clamp the annotations of one sample.

        Args:
            results (dict): With ``img`` (H, W, 3).

        Returns:
            dict: The sample with clean annotations.

        Raises:
            ValueError: If the annotations have another number of key points
                than the model or the data set's metainfo.
        """
        if results.get('keypoints') is not None:
            found = results['keypoints'].shape[1]
            expected = self.num_keypoints
            if expected is None and results.get('flip_indices') is not None:
                expected = len(results['flip_indices'])
            if expected is not None and found != expected:
                raise ValueError(
                    f'{results.get("img_path", "a sample")} is annotated '
                    f'with {found} key points, but {expected} are expected: '
                    'correct keypoint_info in the metainfo of the data set '
                    'and num_keypoints in the config.')
        height, width = results['img'].shape[:2]
        return sanitize(results, height, width)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_keypoints={self.num_keypoints})'
