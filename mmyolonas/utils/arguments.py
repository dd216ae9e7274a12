"""Types of command-line arguments that refuse what cannot work, before any work is done."""
import argparse
import math
from typing import Callable, Optional


def _number(text: str, kind: type, low: float, high: float, what: str):
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:  # NaN is neither
        raise argparse.ArgumentTypeError(f'must be {what}, got {text!r}')
    return value


def integer(low: Optional[int] = None, high: Optional[int] = None) -> Callable[[str], int]:
    """Return a type of whole numbers within limits, both included."""
    what = 'a whole number'
    if low is not None and high is not None:
        what += f' from {low} to {high}'
    elif low is not None:
        what += f' of at least {low}'
    limits = (-2**31 if low is None else low, 2**31 - 1 if high is None else high)
    return lambda text: _number(text, int, *limits, what)


#: Counts: of images, epochs, threads, runs.
positive_int = integer(1)
#: Counts that may be none.
natural = integer(0)
#: Seeds, as numpy takes them.
seed = integer(0, 2**32 - 1)
#: Sides of images in pixels.
side = integer(32, 16384)


def share(text: str) -> float:
    """A score, an overlap or another part of one: 0 to 1."""
    return _number(text, float, 0., 1., 'a number from 0 to 1')


def positive(text: str) -> float:
    """A finite number above 0: rates, times, sizes."""
    return _number(text, float, 5e-324, 1e30, 'a finite number above 0')


def positive_list(text: str) -> tuple:
    """Finite numbers above 0 with commas between them."""
    return tuple(positive(part.strip()) for part in text.split(','))


def not_negative(text: str) -> float:
    """A finite number that is 0 or more."""
    return _number(text, float, 0., 1e30, 'a finite number of at least 0')


def device(text: str) -> str:
    """A device of PyTorch that this machine has."""
    import torch
    try:
        kind, index = torch.device(text).type, torch.device(text).index
    except RuntimeError:
        kind, index = '', None
    if kind == 'cpu':
        return text
    module = getattr(torch, kind, None) if kind else None
    if module is None or not hasattr(module, 'is_available'):
        raise argparse.ArgumentTypeError(f'must be cpu, cuda or cuda:NUMBER, got {text!r}')
    if not module.is_available():
        raise argparse.ArgumentTypeError(
            f'{text} is not there: this machine has no such device, its driver is missing, or '
            'this PyTorch was built without it; use cpu')
    count = module.device_count() if hasattr(module, 'device_count') else 1
    if index is not None and index >= count:
        raise argparse.ArgumentTypeError(f'{text} is not there: this machine has {count}')
    return text
