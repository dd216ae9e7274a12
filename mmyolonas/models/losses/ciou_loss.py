"""Box loss of YOLO-NAS-Pose."""
from typing import Optional

from torch import Tensor, nn

from mmyolonas.registry import MODELS

from .pose_functional import ciou_loss


@MODELS.register_module()
class CIoULoss(nn.Module):
    """CIoU loss whose aspect term is active at every overlap.

    Args:
        eps (float): Guards the divisions. Defaults to 1e-10.
        loss_weight (float): Weight of the loss. Defaults to 2.5.
    """

    def __init__(self, eps: float = 1e-10, loss_weight: float = 2.5) -> None:
        super().__init__()
        self.eps = eps
        self.loss_weight = loss_weight

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[Tensor] = None) -> Tensor:
        """Return the weighted loss.

        Args:
            pred (Tensor): Boxes of shape (N, 4) as xyxy.
            target (Tensor): Boxes of shape (N, 4) as xyxy.
            weight (Tensor, optional): Weight of each box, of shape (N,).
            avg_factor (Tensor, optional): Scalar divisor; None takes N.

        Returns:
            Tensor: Scalar.
        """
        loss = ciou_loss(pred, target, self.eps)
        if weight is not None:
            loss = loss * weight
        return self.loss_weight * loss.sum() / (
            max(len(loss), 1) if avg_factor is None else avg_factor)
