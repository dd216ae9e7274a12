"""Classification loss of YOLO-NAS."""
from typing import Optional

from torch import Tensor, nn

from mmyolonas.models.losses.functional import varifocal_loss
from mmyolonas.registry import MODELS


@MODELS.register_module()
class VarifocalLoss(nn.Module):
    """Varifocal loss on sparse targets.

    Unlike mmdet's class of this name it knows which priors are positive from
    the assignment, not from the target being above 0, as SuperGradients does.

    Args:
        alpha (float): Weight of the negatives. Defaults to 0.75.
        gamma (float): Exponent of the negatives' weight. Defaults to 2.
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, cls_scores: Tensor, labels: Tensor, assigned_scores: Tensor,
                pos_mask: Tensor, avg_factor: Tensor, weight: Optional[Tensor] = None,
                ignore_mask: Optional[Tensor] = None) -> Tensor:
        """Return the weighted loss; arguments as in :func:`varifocal_loss`."""
        loss = varifocal_loss(cls_scores, labels, assigned_scores, pos_mask, self.alpha,
                              self.gamma, weight, ignore_mask)
        return self.loss_weight * loss / avg_factor
