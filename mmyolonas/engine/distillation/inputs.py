"""Converts the input of one network to that of another."""
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor, nn


def input_converter(student: nn.Module, teacher: nn.Module) -> Optional[Callable[[Tensor], Tensor]]:
    """Return a function from a student's network input to its teacher's.

    The student's images have been normalised by its data preprocessor; a teacher
    with another mean, deviation or channel order gets them as its own would
    have made them. Padding that the preprocessor added is converted with the
    image.

    Args:
        student (nn.Module): Data preprocessor of the student.
        teacher (nn.Module): Data preprocessor of the teacher.

    Returns:
        Callable, optional: (B, 3, H, W) to (B, 3, H, W); None if they agree.
    """
    (mean, std), (mean_t, std_t) = _normalisation(student), _normalisation(teacher)
    flip = _reorders(student) != _reorders(teacher)
    if flip:
        mean, std = mean.flip(0), std.flip(0)
    scale, shift = std / std_t, (mean - mean_t) / std_t
    if not flip and torch.equal(scale, torch.ones_like(scale)) and not shift.any():
        return None

    def convert(inputs: Tensor) -> Tensor:
        if flip:
            inputs = inputs.flip(1)
        return inputs * scale.to(inputs) + shift.to(inputs)

    return convert


def _normalisation(preprocessor: nn.Module) -> Tuple[Tensor, Tensor]:
    """Return mean and deviation of shape (3, 1, 1), in the network's order."""
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    return tuple(value.detach().cpu().float().expand(3, 1, 1)
                 for value in (preprocessor.mean, preprocessor.std))


def _reorders(preprocessor: nn.Module) -> bool:
    return bool(getattr(preprocessor, '_channel_conversion', False))
