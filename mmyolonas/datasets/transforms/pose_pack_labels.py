"""Training targets of YOLO-NAS-Pose."""
from typing import Dict

import numpy as np
from mmcv.transforms import BaseTransform

from mmyolonas.registry import TRANSFORMS

from .pose_functional import visibility

LABEL_TABLE = dict(
    bbox='bboxes',
    bbox_labels='labels',
    keypoints='keypoints',
    keypoints_visible='keypoints_visible',
    area='areas',
    iscrowd='crowds')
INSTANCE_TABLE = dict(
    bbox='bboxes',
    bbox_score='bbox_scores',
    keypoints='keypoints',
    keypoints_visible='keypoints_visible')


@TRANSFORMS.register_module()
class PosePackLabels(BaseTransform):
    """Say which annotations ``PackPoseInputs`` turns into training targets.

    Takes the place of mmpose's ``GenerateTarget`` with the YOLOX-Pose codec,
    which cannot pack an image without instances, has no crowd flag and derives
    labels from category ids that need not start at one. There is one class, so
    every label is 0.

    Args:
        crowd (str): ``'as_normal'`` clears the crowd flag, as the recipe of
            the published models does; ``'keep'`` passes it to the assigner
            as ``gt_instance_labels.crowds``. Defaults to ``'as_normal'``.
    """

    def __init__(self, crowd: str = 'as_normal') -> None:
        if crowd not in ('as_normal', 'keep'):
            raise ValueError(
                f"crowd must be 'as_normal' or 'keep', got {crowd!r}.")
        self.crowd = crowd

    def transform(self, results: Dict) -> Dict:
        """Complete the annotations of one sample.

        Args:
            results (dict): The sample, with or without instances; without,
                ``flip_indices`` gives the number of key points.

        Returns:
            dict: The sample with ``bbox_labels`` and the tables that
            ``PackPoseInputs`` reads. Boxes, key points, visibilities and areas
            are float32, labels and crowd flags int64.
        """
        if results.get('bbox') is None:
            count = len(results.get('flip_indices', ()))
            results['bbox'] = np.zeros((0, 4))
            results['keypoints'] = np.zeros((0, count, 2))
            results['keypoints_visible'] = np.zeros((0, count))
            results['area'] = np.zeros((0, ))
        number = len(results['bbox'])
        if results.get('area') is None:
            size = results['bbox'][:, 2:] - results['bbox'][:, :2]
            results['area'] = 0.53 * np.prod(size, axis=1)
        for key in ('bbox', 'keypoints', 'keypoints_visible', 'area'):
            results[key] = np.asarray(results[key], np.float32)
        results['keypoints_visible'] = np.ascontiguousarray(
            visibility(results['keypoints_visible']))
        results['bbox_score'] = np.ones(number, np.float32)
        results['bbox_labels'] = np.zeros(number, np.int64)
        crowd = np.zeros(number, np.int64)
        if self.crowd == 'keep' and results.get('iscrowd') is not None:
            crowd = np.asarray(results['iscrowd'], np.int64).reshape(number)
        results['iscrowd'] = crowd
        results['label_mapping_table'] = dict(LABEL_TABLE)
        results['instance_mapping_table'] = dict(INSTANCE_TABLE)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crowd={self.crowd!r})'
