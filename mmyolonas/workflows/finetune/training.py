"""Training with the config of a fine-tuning, in one process or several."""
import logging
import re
import time

from mmyolonas.utils.stages import Results
from mmyolonas.workflows.finetune.task import Finetuning

_SHOWN = re.compile(r'Epoch\(|[Rr]esumed|best checkpoint')


def train(task: Finetuning) -> Results:
    """Train with the config, or go on."""
    from mmyolonas.engine.data_check import check_data
    from mmyolonas.engine.running import (
        apply_amp,
        apply_resume,
        build_runner,
        use_processes,
    )
    from mmyolonas.utils.checkpoints import last_checkpoint
    from mmyolonas.utils.configs import load_config
    cfg = load_config(str(task.config))
    cfg.work_dir, cfg.launcher = str(task.train_dir), task.launcher
    use_processes(cfg)
    apply_amp(cfg)
    if last_checkpoint(cfg.work_dir) is not None:
        apply_resume(cfg, 'auto')
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    cfg.log_level = 'WARNING'  # mmengine would print the machine and the whole config
    if 'visualizer' in cfg:
        # of one name there is one in a process, and it would write to the first one's folder
        cfg.visualizer.name = f'finetune_{time.time_ns()}'
    with task.crew.training():
        runner = build_runner(cfg)
        _show_progress(runner.logger, task.crew.leads)
        runner.train()
    return dict(checkpoint=task.checkpoint())


def _show_progress(logger: logging.Logger, leads: bool) -> None:
    """Let a runner's logger write everything to its file and print progress and warnings."""
    if not leads:
        return
    logger.setLevel(logging.INFO)
    for handler in logger.handlers:
        handler.setLevel(logging.INFO)
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: record.levelno >= logging.WARNING
                              or bool(_SHOWN.search(record.getMessage())))
