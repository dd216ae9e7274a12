"""A hook for trainings in processes of their own: writes the losses of each rank."""
import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class LossRecorder(Hook):
    """Write one line of losses per iteration to ``<work_dir>/losses_<rank>.jsonl``."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        row = {key: float(value) for key, value in outputs.items()}
        path = Path(runner.work_dir) / f'losses_{get_rank()}.jsonl'
        with open(path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
