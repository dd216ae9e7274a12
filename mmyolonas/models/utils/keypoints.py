"""Key-point geometry as pure functions: decoding and similarity."""
from torch import Tensor


def decode_keypoints(priors: Tensor, offsets: Tensor, strides: Tensor) -> Tensor:
    """Return key points in pixels from offsets in units of the stride.

    Offsets count from the top-left corner of a cell, priors are its centre:
    ``offset * stride + prior - stride / 2`` (reference.md 4.4).

    Args:
        priors (Tensor): Cell centres of shape (L, 2) in pixels.
        offsets (Tensor): Shape (..., L, 2 * K), key-point-major: x0, y0, x1, ...
        strides (Tensor): Shape (L, 1) in pixels.

    Returns:
        Tensor: Key points of shape (..., L, K, 2) in pixels.
    """
    corners = (priors - strides / 2).unsqueeze(-2)
    return offsets.unflatten(-1, (-1, 2)) * strides.unsqueeze(-1) + corners


def keypoint_errors(pred: Tensor, target: Tensor, areas: Tensor, sigmas: Tensor,
                    eps: float = 1e-9) -> Tensor:
    """Return the exponents of COCO's object key-point similarity.

    ``|p - g|^2 / (2 sigma)^2 / (area + eps) / 2`` (reference.md 6.2).

    Args:
        pred (Tensor): Key points of shape (..., K, 2) in pixels.
        target (Tensor): Key points of shape (..., K, 2) in pixels.
        areas (Tensor): Object areas of shape (...) in square pixels.
        sigmas (Tensor): Shape (K,), relative to the square root of the area.
        eps (float): Added to the areas. Defaults to 1e-9.

    Returns:
        Tensor: Shape (..., K), at least 0.
    """
    distances = (pred - target).square().sum(-1)
    return distances / (2 * sigmas).square() / (areas.unsqueeze(-1) + eps) / 2


def oks(pred: Tensor, target: Tensor, visible: Tensor, areas: Tensor, sigmas: Tensor,
        eps: float = 1e-9) -> Tensor:
    """Return the object key-point similarity; 0 where no key point is visible.

    Args:
        pred (Tensor): Key points of shape (..., K, 2) in pixels.
        target (Tensor): Key points of shape (..., K, 2) in pixels.
        visible (Tensor): 0 or 1, of shape (..., K).
        areas (Tensor): Object areas of shape (...) in square pixels.
        sigmas (Tensor): Shape (K,).
        eps (float): Guards the divisions. Defaults to 1e-9.

    Returns:
        Tensor: Shape (...), within [0, 1].
    """
    similarity = keypoint_errors(pred, target, areas, sigmas, eps).neg().exp()
    return (similarity * visible).sum(-1) / (visible.sum(-1) + eps)
