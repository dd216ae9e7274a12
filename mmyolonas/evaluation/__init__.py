"""Metrics."""
from .checked_coco_metric import CheckedCocoMetric
from .pose_coco_metric import PoseCocoMetric
from .pose_pck_metric import PosePCKMetric

__all__ = ['CheckedCocoMetric', 'PoseCocoMetric', 'PosePCKMetric']
