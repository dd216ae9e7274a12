"""Loss on the distributions of the box sides."""
from torch import Tensor, nn

from mmyolonas.models.losses.functional import distribution_focal_loss
from mmyolonas.registry import MODELS


@MODELS.register_module()
class DistributionFocalLoss(nn.Module):
    """Distribution focal loss, averaged over the four sides of a box.

    Args:
        reg_max (int): Largest value of the support. Defaults to 16.
        loss_weight (float): Weight of the loss. Defaults to 0.5.
    """

    def __init__(self, reg_max: int = 16, loss_weight: float = 0.5) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.loss_weight = loss_weight

    def forward(self, bbox_dists: Tensor, distances: Tensor, weight: Tensor,
                avg_factor: Tensor) -> Tensor:
        """Return the weighted loss.

        Args:
            bbox_dists (Tensor): Logits of shape (N, 4 * (reg_max + 1)).
            distances (Tensor): Targets of shape (N, 4) in units of the stride.
            weight (Tensor): Weight of each box, of shape (N,).
            avg_factor (Tensor): Scalar divisor.

        Returns:
            Tensor: Scalar.
        """
        loss = distribution_focal_loss(bbox_dists, distances, self.reg_max)
        return self.loss_weight * (loss * weight).sum() / avg_factor
