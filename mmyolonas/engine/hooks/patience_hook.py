"""Ends a training that no longer gets better, and remembers how long it has waited."""
import logging
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import EarlyStoppingHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from mmyolonas.registry import HOOKS
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json, write_json

HISTORY = 'early_stopping.json'


@HOOKS.register_module()
class PatienceHook(EarlyStoppingHook):
    """mmengine's early stopping, continued where it was when a training is resumed.

    mmengine's counts from nothing after each resume, so a job that is restarted every
    few hours never stops. Here every validation is noted in ``early_stopping.json`` of the
    work folder, and a resumed training replays those up to its checkpoint; later ones,
    whose weights are lost, are dropped. A training that had stopped stays stopped, unless
    the config now has more patience. The arguments are those of
    :class:`mmengine.hooks.EarlyStoppingHook`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._start = self.best_score
        self._history: Optional[List[Tuple[int, float]]] = None

    def before_run(self, runner) -> None:
        """Nothing is checked: validating and testing need no loop that can be stopped."""

    def before_train(self, runner) -> None:
        """Replay the validations that came before the checkpoint."""
        self._remember(runner)

    def after_val_epoch(self, runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """Count a validation of a training."""
        # a train loop that was not built yet is still a dict: there is no training
        if not isinstance(runner._train_loop, BaseLoop):
            return
        metrics = metrics or {}
        history = self._remember(runner)
        if history and history[-1][0] == runner.iter:
            return  # validated once more after a resume
        super().after_val_epoch(runner, metrics)
        if self.monitor in metrics:
            history.append((runner.iter, float(metrics[self.monitor])))
            if is_main_process():
                write_json(_path(runner), dict(monitor=self.monitor, validations=history))

    def _remember(self, runner) -> List[Tuple[int, float]]:
        """Return the validations of this training so far; read and count them at first."""
        if self._history is None:
            found: List[list] = [[]]
            if is_main_process() and runner.iter:
                found = [_read(_path(runner), self.monitor)]
            broadcast_object_list(found)
            self._history = [(step, value) for step, value in found[0] if step <= runner.iter]
            self.best_score, self.wait_count = self._start, 0
            stop = False
            for _, value in self._history:
                stop, reason = self._check_stop_condition(value)
            if stop:
                runner.train_loop.stop_training = True
                print_log(f'the training had ended early: {reason}', logger='current',
                          level=logging.INFO)
        return self._history


def _path(runner) -> Path:
    return Path(runner.work_dir) / HISTORY


def _read(path: Path, monitor: str) -> List[Tuple[int, float]]:
    """Return the validations of a file; none if it is of another metric or damaged."""
    if not path.is_file():
        return []
    try:
        rows = read_json(path, 'a record of validations', check=lambda record: [
            (int(step), float(value)) for step, value in record['validations']
            if record['monitor'] == monitor])
    except UserError as error:
        print_log(f'{error} Early stopping waits from the beginning.', logger='current',
                  level=logging.WARNING)
        return []
    return sorted(rows)
