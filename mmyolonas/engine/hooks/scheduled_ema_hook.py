"""Keeps the scheduled average of the weights during training."""
from typing import Optional

from mmengine.hooks import EMAHook

from mmyolonas.engine.scheduled_ema import ScheduledEMA  # noqa: F401, registers the type
from mmyolonas.registry import HOOKS


@HOOKS.register_module()
class ScheduledEMAHook(EMAHook):
    """mmengine's EMA hook around :class:`mmyolonas.engine.ScheduledEMA`.

    Two things differ from mmengine's: the average starts from the weights that
    training starts from (mmengine copies the model before its weights are
    initialised), and the 'exp' schedule learns the length of the training.

    Args:
        decay (float): Upper bound of the decay. Defaults to 0.9997.
        schedule (str): 'constant', 'threshold' or 'exp'. Defaults to
            'threshold'.
        beta (float): Steepness of 'exp'. Defaults to 50.
        total_steps (int, optional): Number of updates that 'exp' reckons with;
            None for the length of the training. Defaults to None.
        strict_load (bool): Whether the average in a checkpoint must match
            exactly when training is resumed. Defaults to False.
    """

    def __init__(self,
                 decay: float = 0.9997,
                 schedule: str = 'threshold',
                 beta: float = 50.0,
                 total_steps: Optional[int] = None,
                 strict_load: bool = False) -> None:
        super().__init__(
            ema_type='mmyolonas.ScheduledEMA',
            strict_load=strict_load,
            decay=decay,
            schedule=schedule,
            beta=beta,
            total_steps=total_steps)

    def before_train(self, runner) -> None:
        """Start the average where training starts."""
        super().before_train(runner)
        if self.ema_model.total_steps is None:
            self.ema_model.total_steps = runner.max_iters
        if int(self.ema_model.steps) == 0:
            self.ema_model.copy_from(self.src_model)
