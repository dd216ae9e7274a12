"""How strongly the teacher pulls, over the course of the training."""
import math
from dataclasses import dataclass
from typing import Optional

DECAYS = ('constant', 'linear', 'cosine')


@dataclass
class DistillationSchedule:
    """Factor of all distillation losses: a ramp up, then a level or a decay.

    All positions are epochs (fractions allowed) or iterations::

        0 ... begin ... begin + warmup ... end ... end of training
        |  0    |   0 -> 1    |  1 -> final  |   0

    Args:
        begin (float): Position of the start. Defaults to 0.
        end (float, optional): Position of the end; None for that of the
            training. Defaults to None.
        warmup (float): Length of the linear ramp. Defaults to 0.
        decay (str): 'constant', 'linear' or 'cosine'. Defaults to 'constant'.
        final (float): Factor at ``end``, if it decays. Defaults to 0.
        by_epoch (bool): Whether positions are epochs. Defaults to True.

    Raises:
        ValueError: The positions are not in order, or ``decay`` is unknown.
    """
    begin: float = 0
    end: Optional[float] = None
    warmup: float = 0
    decay: str = 'constant'
    final: float = 0.0
    by_epoch: bool = True

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise ValueError(f'DistillationSchedule: unknown decay {self.decay!r}; choose one of '
                             f'{", ".join(DECAYS)}.')
        if min(self.begin, self.warmup) < 0 or (
                self.end is not None and self.end < self.begin + self.warmup):
            raise ValueError(
                'DistillationSchedule: needs 0 <= begin and begin + warmup <= end, got '
                f'begin={self.begin}, warmup={self.warmup}, end={self.end}.')

    def factor(self, position: float, total: float) -> float:
        """Return the factor at a position.

        Args:
            position (float): Epochs or iterations that are done, from 0.
            total (float): Length of the training in the same unit.

        Returns:
            float: At least 0; 0 outside ``begin`` to ``end``.
        """
        end = total if self.end is None else self.end
        if not self.begin <= position < end:
            return 0.0
        position -= self.begin
        if position < self.warmup:
            return position / self.warmup
        if self.decay == 'constant':
            return 1.0
        done = (position - self.warmup) / max(end - self.begin - self.warmup, 1e-12)
        left = 1 - done if self.decay == 'linear' else (1 + math.cos(math.pi * done)) / 2
        return self.final + (1 - self.final) * left
