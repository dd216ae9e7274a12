"""Logs by time as well as by iterations."""
import time
from typing import Optional

from mmengine.hooks import LoggerHook

from mmyolonas.registry import HOOKS


@HOOKS.register_module()
class ProgressLoggerHook(LoggerHook):
    """mmengine's logger hook that is never silent for long.

    On a CPU fifty iterations take minutes, and an epoch of a small data set
    may have fewer. A line with the progress and the time left is also written
    when none was for ``max_silence`` seconds, and after the first iteration.

    Args:
        interval (int): Log every so many iterations. Defaults to 50.
        max_silence (float): Log after so many seconds. Defaults to 10.
        **kwargs: Arguments of :class:`mmengine.hooks.LoggerHook`.
    """

    def __init__(self, interval: int = 50, max_silence: float = 10.0, **kwargs) -> None:
        super().__init__(interval=interval, **kwargs)
        self.max_silence = max_silence
        self._last: Optional[float] = None

    def _is_due(self, batch_idx: int) -> bool:
        """Whether a line is due that mmengine would not write."""
        now = time.monotonic()
        if self.every_n_inner_iters(batch_idx, self.interval):
            self._last = now
            return False
        if self._last is not None and now - self._last < self.max_silence:
            return False
        self._last = now
        return True

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Log a training iteration if it is due."""
        if not self._is_due(batch_idx):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            return
        tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
        runner.logger.info(line)
        runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    def _after_evaluation_iter(self, runner, batch_idx: int, mode: str) -> bool:
        if not self._is_due(batch_idx):
            return False
        runner.logger.info(
            runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[1])
        return True

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Log a validation iteration if it is due."""
        if not self._after_evaluation_iter(runner, batch_idx, 'val'):
            super().after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Log a test iteration if it is due."""
        if not self._after_evaluation_iter(runner, batch_idx, 'test'):
            super().after_test_iter(runner, batch_idx, data_batch, outputs)
