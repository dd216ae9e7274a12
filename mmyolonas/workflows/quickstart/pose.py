"""Poses: drawn figures."""
from typing import Any, List

import numpy as np

from mmyolonas.workflows.quickstart.job import Task

METRIC = 'coco/AP'


def generate(folder: str, num_train: int, num_val: int) -> None:
    """Draw images of figures."""
    from mmyolonas.datasets.samples.sample_data import generate_pose_samples
    generate_pose_samples(folder, num_train, num_val)


def draw_truth(image: np.ndarray, found: List[dict], truth: dict, predictor: Any) -> np.ndarray:
    """Draw the annotated poses of an image into it."""
    from mmyolonas.visualization.drawing import draw_poses
    points = np.array([a['keypoints'] for a in found], float).reshape(-1, 17, 3)
    return draw_poses(image, points[..., :2], points[..., 2] > 0, predictor.meta['skeleton_links'])


TASK = Task(
    'Quickstart: YOLO-NAS-Pose-N on generated figures', 'yolonas_pose/yolonas_pose_n_sample.py',
    'work_dirs/quickstart_pose', 'data/sample_figures', 'person_keypoints',
    {'AP': METRIC, 'AP50': f'{METRIC} .5'}, generate, draw_truth)
