"""Key-point regression loss of YOLO-NAS-Pose."""
from torch import Tensor, nn

from mmyolonas.registry import MODELS

from .pose_functional import oks_loss


@MODELS.register_module()
class KeypointOKSLoss(nn.Module):
    """One minus the object key-point similarity.

    Unlike mmpose's ``OKSLoss`` it has no state, takes its sigmas from the head,
    and is 0, not 1, for an object without visible key points.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 34, the value of
            the N and S models; M and L have 10.
    """

    def __init__(self, loss_weight: float = 34.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, visible: Tensor, areas: Tensor,
                sigmas: Tensor, weight: Tensor, avg_factor: Tensor) -> Tensor:
        """Return the weighted loss.

        Args:
            pred (Tensor): Key points of shape (N, K, 2) in pixels.
            target (Tensor): Key points of shape (N, K, 2) in pixels.
            visible (Tensor): 0 or 1, of shape (N, K).
            areas (Tensor): Object areas of shape (N,) in square pixels.
            sigmas (Tensor): Shape (K,).
            weight (Tensor): Weight of each object, of shape (N,).
            avg_factor (Tensor): Scalar divisor.

        Returns:
            Tensor: Scalar.
        """
        loss = oks_loss(pred, target, visible, areas, sigmas)
        return self.loss_weight * (loss * weight).sum() / avg_factor
