from .distribution_focal_loss import DistributionFocalLoss
from .functional import distribution_focal_loss, varifocal_loss
from .varifocal_loss import VarifocalLoss

__all__ = [
    'DistributionFocalLoss', 'VarifocalLoss', 'distribution_focal_loss', 'varifocal_loss'
]
