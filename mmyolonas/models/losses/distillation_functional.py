"""What a student learns from a teacher, as pure functions."""
import torch.nn.functional as F
from torch import Tensor


def confidence_weights(scores: Tensor, power: float = 1.0, threshold: float = 0.05) -> Tensor:
    """Return how much each prior of the teacher counts.

    ``max_c score ** power`` where that score is at least ``threshold``, 0 elsewhere.

    Args:
        scores (Tensor): The teacher's scores of shape (B, L, C) within [0, 1].
        power (float): Exponent; 0 weighs all priors above the threshold alike.
            Defaults to 1.
        threshold (float): Smallest score that counts. Defaults to 0.05.

    Returns:
        Tensor: Weights of shape (B, L) within [0, 1].
    """
    confidence = scores.amax(dim=-1)
    return confidence.pow(power).masked_fill(confidence < threshold, 0)


def distribution_kl(bbox_dists: Tensor, target_dists: Tensor, reg_max: int,
                    temperature: float = 1.0) -> Tensor:
    """Return the divergence of box-side distributions, averaged over the sides.

    ``T^2 * KL(softmax(target / T) || softmax(pred / T))``, summed over the bins.
    (mmdet's ``KnowledgeDistillationKLDivLoss`` takes the mean over the bins,
    which is the same divided by ``reg_max + 1``.)

    Args:
        bbox_dists (Tensor): The student's logits of shape
            (N, 4 * (reg_max + 1)), side-major.
        target_dists (Tensor): The teacher's, of the same shape.
        reg_max (int): Largest value of the support.
        temperature (float): T; above 1 the small probabilities count more.
            Defaults to 1.

    Returns:
        Tensor: Divergence of shape (N,), at least 0.

    Source:
        Localization Distillation, arXiv:2102.12252.
    """
    shape = (4, reg_max + 1)
    pred = (bbox_dists.unflatten(-1, shape) / temperature).log_softmax(-1)
    target = (target_dists.unflatten(-1, shape) / temperature).log_softmax(-1)
    divergence = F.kl_div(pred, target, reduction='none', log_target=True).sum(-1)
    return divergence.mean(-1) * temperature**2


def feature_correlation_loss(feat: Tensor, target: Tensor) -> Tensor:
    """Return one minus the correlation of two feature maps, averaged over channels.

    The correlation of a channel is taken over the positions of an image, so that
    scale and offset of the teacher's features do not matter. (PKD takes it over
    the batch; over an image it does not depend on how a batch is divided among
    processes.)

    Args:
        feat (Tensor): The student's features of shape (B, C, H, W).
        target (Tensor): The teacher's, of the same shape.

    Returns:
        Tensor: Scalar within [0, 2].

    Source:
        PKD, arXiv:2207.02039.
    """
    feat, target = (x.float().flatten(2) for x in (feat, target))
    feat, target = (x - x.mean(dim=2, keepdim=True) for x in (feat, target))
    return (1 - F.cosine_similarity(feat, target, dim=2)).mean()
