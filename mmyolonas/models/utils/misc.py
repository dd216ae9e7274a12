"""Type aliases, and checks of arguments and outputs."""
import warnings
from typing import Any, List, Optional, Union

import torch
from torch import Tensor

from mmyolonas.utils.errors import NotNumbers

OptConfig = Optional[Union[dict, List[dict]]]


def pick_arch(arch: Union[str, dict], settings: dict, owner: str) -> dict:
    """Return an architecture table by name, or the table that was given.

    Args:
        arch (str | dict): Name in ``settings``, or a table with the same keys.
        settings (dict): The tables by name.
        owner (str): Class name for the error message.

    Raises:
        ValueError: Unknown name, or a key is missing.
    """
    if isinstance(arch, str):
        if arch not in settings:
            raise ValueError(
                f'{owner}: unknown arch {arch!r}; choose one of {", ".join(settings)} '
                'or give a table.')
        return settings[arch]
    missing = set(next(iter(settings.values()))) - set(arch)
    if missing:
        raise ValueError(f'{owner}: the arch table lacks {", ".join(sorted(missing))}.')
    return arch


def check_count(value: Any, name: str, owner: str) -> int:
    """Return a number of outputs.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'{owner}: {name} must be a whole number of at least 1, got {value!r}.')
    return value


def warn_of_nan(scores: Tensor, boxes: Tensor) -> None:
    """Warn if there is NaN among the predictions of an image; it would have no objects.

    Args:
        scores (Tensor): Any shape.
        boxes (Tensor): Any shape.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling() or not scores.numel():
        return
    # the largest of values with NaN is NaN
    if torch.isnan(scores.max() + boxes.max()):
        warnings.warn(NotNumbers(
            "the network's predictions are not numbers (NaN), so nothing can be found: weights, "
            'mean or std are damaged or too large, or half precision does not suffice; take a '
            'sound checkpoint and config.'), stacklevel=2)
