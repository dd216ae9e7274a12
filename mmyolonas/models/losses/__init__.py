"""Losses as modules; the mathematics are in ``functional`` and ``pose_functional``."""
from .aligned_focal_loss import AlignedFocalLoss
from .ciou_loss import CIoULoss
from .distribution_focal_loss import DistributionFocalLoss
from .keypoint_confidence_loss import KeypointConfidenceLoss
from .keypoint_oks_loss import KeypointOKSLoss
from .varifocal_loss import VarifocalLoss

__all__ = [
    'AlignedFocalLoss', 'CIoULoss', 'DistributionFocalLoss', 'KeypointConfidenceLoss',
    'KeypointOKSLoss', 'VarifocalLoss'
]
