"""Key-point confidence loss of YOLO-NAS-Pose."""
import torch.nn.functional as F
from torch import Tensor, nn

from mmyolonas.registry import MODELS

from .pose_functional import keypoint_focal_loss


@MODELS.register_module()
class KeypointConfidenceLoss(nn.Module):
    """Loss on the confidence that a key point is visible.

    Args:
        mode (str): ``'focal'``, the recipe of the published models, or
            ``'bce'``. Defaults to ``'focal'``.
        alpha (float): Focal weight of the visible ones. Defaults to 0.25.
        gamma (float): Focal exponent. Defaults to 2.
        loss_weight (float): Weight of the loss. Defaults to 1.
    """

    def __init__(self, mode: str = 'focal', alpha: float = 0.25, gamma: float = 2.0,
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        if mode not in ('focal', 'bce'):
            raise ValueError(
                f"KeypointConfidenceLoss: mode must be 'focal' or 'bce', got {mode!r}.")
        self.mode = mode
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, kpt_scores: Tensor, visible: Tensor, weight: Tensor,
                avg_factor: Tensor) -> Tensor:
        """Return the weighted loss.

        Args:
            kpt_scores (Tensor): Logits of shape (N, K).
            visible (Tensor): 0 or 1, of shape (N, K).
            weight (Tensor): Weight of each object, of shape (N,).
            avg_factor (Tensor): Scalar divisor.

        Returns:
            Tensor: Scalar.
        """
        if self.mode == 'focal':
            loss = keypoint_focal_loss(kpt_scores, visible, self.alpha, self.gamma)
        else:
            loss = F.binary_cross_entropy_with_logits(
                kpt_scores, visible, reduction='none').mean(-1)
        return self.loss_weight * (loss * weight).sum() / avg_factor
