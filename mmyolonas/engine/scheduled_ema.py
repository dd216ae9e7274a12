"""Exponential moving average whose decay follows a schedule."""
import math
from typing import Optional

import torch
from mmengine.model import BaseAveragedModel
from torch import nn

from mmyolonas.registry import MODELS


@MODELS.register_module()
class ScheduledEMA(BaseAveragedModel):
    """EMA of all floating-point entries of the state dict, as YOLO-NAS was trained.

    After update ``t`` (counted from 1) of ``T``::

        average = d * average + (1 - d) * weights
        d = decay                                  'constant'
        d = min(decay, (1 + t) / (10 + t))         'threshold'
        d = decay * (1 - exp(-beta * t / T))       'exp'

    The average starts from the weights before the first step.
    :class:`mmengine.model.MomentumAnnealingEMA` with gamma 9 is close to
    'threshold', but it starts from the weights after the first step and is two
    updates behind. Source: reference.md 11.3.

    Args:
        model (nn.Module): The model to average.
        decay (float): Upper bound of the decay, in (0, 1). Defaults to 0.9997.
        schedule (str): 'constant', 'threshold' or 'exp'. Defaults to
            'threshold'.
        beta (float): Steepness of 'exp'. Defaults to 50.
        total_steps (int, optional): ``T``, needed by 'exp'; the hook sets it to
            the length of the training. Defaults to None.
        device (torch.device, optional): Where the average lives; the model's
            device by default.

    Raises:
        ValueError: ``decay`` is outside (0, 1) or the schedule is unknown.
    """

    schedules = ('constant', 'threshold', 'exp')

    def __init__(self,
                 model: nn.Module,
                 decay: float = 0.9997,
                 schedule: str = 'threshold',
                 beta: float = 50.0,
                 total_steps: Optional[int] = None,
                 device: Optional[torch.device] = None) -> None:
        super().__init__(model, interval=1, device=device, update_buffers=True)
        if not 0 < decay < 1:
            raise ValueError(f'ScheduledEMA: decay must lie in (0, 1), got {decay}.')
        if schedule not in self.schedules:
            raise ValueError(f'ScheduledEMA: unknown schedule {schedule!r}; choose one of '
                             f'{", ".join(self.schedules)}.')
        self.decay = decay
        self.schedule = schedule
        self.beta = beta
        self.total_steps = total_steps

    def decay_at(self, step: int) -> float:
        """Return the decay of update ``step``, counted from 1."""
        if self.schedule == 'threshold':
            return min(self.decay, (1 + step) / (10 + step))
        if self.schedule == 'exp':
            if not self.total_steps:
                raise ValueError(
                    "ScheduledEMA: schedule 'exp' needs total_steps, the number of iterations.")
            return self.decay * (1 - math.exp(-self.beta * step / self.total_steps))
        return self.decay

    @torch.no_grad()
    def copy_from(self, model: nn.Module) -> None:
        """Make the average equal to ``model``."""
        source = model.state_dict()
        for key, average in self.avg_parameters.items():
            average.copy_(source[key])

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards ``model``; counts as one update."""
        self.steps += 1
        decay = self.decay_at(int(self.steps))
        source = model.state_dict()
        averages, weights = [], []
        for key, average in self.avg_parameters.items():
            if average.is_floating_point():
                averages.append(average)
                weights.append(source[key].to(average))
        # one kernel for all tensors of a device; the loop takes a launch each
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def avg_func(self, averaged_param, source_param, steps: int) -> None:
        """Move one tensor; kept for callers of mmengine's interface."""
        averaged_param.lerp_(source_param, 1 - self.decay_at(int(steps) + 1))
