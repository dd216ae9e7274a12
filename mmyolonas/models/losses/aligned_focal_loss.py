"""Classification loss of YOLO-NAS-Pose."""
from typing import Optional

from torch import Tensor, nn

from mmyolonas.registry import MODELS

from .pose_functional import aligned_focal_loss


@MODELS.register_module()
class AlignedFocalLoss(nn.Module):
    """Focal loss on task-aligned targets, without balance between the classes.

    Takes the arguments of :class:`VarifocalLoss` and a mask.

    Args:
        gamma (float): Exponent of the weight. Defaults to 2.
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, cls_scores: Tensor, labels: Tensor, assigned_scores: Tensor,
                pos_mask: Tensor, avg_factor: Tensor,
                ignore_mask: Optional[Tensor] = None) -> Tensor:
        """Return the weighted loss; arguments as in :func:`aligned_focal_loss`."""
        loss = aligned_focal_loss(cls_scores, labels, assigned_scores, pos_mask, self.gamma,
                                  ignore_mask)
        return self.loss_weight * loss / avg_factor
