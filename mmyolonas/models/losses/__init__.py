from .aligned_focal_loss import AlignedFocalLoss
from .box_losses import positive_box_losses
from .ciou_loss import CIoULoss
from .distribution_focal_loss import DistributionFocalLoss
from .functional import distribution_focal_loss, varifocal_loss
from .keypoint_confidence_loss import KeypointConfidenceLoss
from .keypoint_oks_loss import KeypointOKSLoss
from .pose_functional import aligned_focal_loss, ciou_loss, keypoint_focal_loss, oks_loss
from .varifocal_loss import VarifocalLoss

__all__ = [
    'AlignedFocalLoss', 'CIoULoss', 'DistributionFocalLoss', 'KeypointConfidenceLoss',
    'KeypointOKSLoss', 'VarifocalLoss', 'aligned_focal_loss', 'ciou_loss',
    'distribution_focal_loss', 'keypoint_focal_loss', 'oks_loss', 'positive_box_losses',
    'varifocal_loss'
]
