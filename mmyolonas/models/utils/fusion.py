"""Folding normalisation into convolutions."""
from typing import Optional, Tuple

import torch
from torch import Tensor, nn


def fold_norm(kernel: Tensor, bias: Optional[Tensor], norm: nn.Module) -> Tuple[Tensor, Tensor]:
    """Return kernel and bias of a convolution with its batch norm folded in.

    With ``sigma = sqrt(var + eps)``: ``K' = K * gamma / sigma`` per output
    channel, ``b' = (b - mean) * gamma / sigma + beta`` (reference.md 2.2).

    Args:
        kernel (Tensor): Kernel of shape (C_out, C_in / groups, kh, kw).
        bias (Tensor, optional): Bias of shape (C_out,).
        norm (nn.Module): Batch norm over C_out channels with running statistics.

    Returns:
        tuple[Tensor, Tensor]: Kernel and bias in the kernel's precision.
    """
    dtype = kernel.dtype
    scale = norm.weight.to(dtype) * torch.rsqrt(norm.running_var.to(dtype) + norm.eps)
    shift = -norm.running_mean.to(dtype) if bias is None else bias - norm.running_mean.to(dtype)
    return kernel * scale.view(-1, 1, 1, 1), norm.bias.to(dtype) + shift * scale
