"""From a folder of labelled images to a trained and judged detector or pose model."""
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict

from mmyolonas.utils.files import explain_full_disk
from mmyolonas.utils.stages import Stage, StageRunner
from mmyolonas.workflows.finetune.data_stage import look_at_data
from mmyolonas.workflows.finetune.evaluation import evaluate, next_commands
from mmyolonas.workflows.finetune.launching import check_launcher
from mmyolonas.workflows.finetune.pose_stages import evaluate_pose_model, look_at_poses
from mmyolonas.workflows.finetune.task import Finetuning
from mmyolonas.workflows.finetune.training import train

__all__ = ['Finetuning', 'finetune']


def finetune(task: Finetuning, fresh: bool = False) -> Dict[str, Any]:
    """Look at the data, write a config, train, evaluate and report.

    Called again with the same arguments it repeats nothing and goes on with an
    interrupted training.

    Args:
        task (Finetuning): What to do.
        fresh (bool): Whether to start anew; an earlier training is kept under
            another name. Defaults to False.

    Returns:
        dict: ``config``, ``checkpoint``, ``threshold``, ``ap``, ``ap50`` and
        ``commands``, the next ones to type; empty in the other processes of a
        distributed training, which only train.

    Raises:
        UserError, DataError: Something is wrong with the data, a file or the
            disk; one sentence that says what to do.
    """
    check_launcher(task.launcher)
    if not task.crew.leads:
        task.crew.follow(lambda: train(task))
        return {}
    with task.crew.lead():
        return _run(task, fresh)


def _run(task: Finetuning, fresh: bool) -> Dict[str, Any]:
    """Do the stages."""
    options = dict(data=str(task.data.absolute()), format=task.format,
                   drop_bad_images=task.drop_bad_images, **asdict(task.options))
    runner = StageRunner(POSE_STAGES if task.is_pose else STAGES, task.work_dir, options)
    runner.load(fresh)
    if 'train' not in runner.state['stages']:
        _put_aside(task.train_dir)
    advice = 'What was done is kept: make room and give the same command again to go on.'
    with explain_full_disk(task.work_dir, advice):
        runner.run(task)
        runner.summary(f'Fine-tuning on {task.data}')
    found = runner.results('evaluate')
    commands = next_commands(task, found['threshold'])
    return dict(config=task.config, checkpoint=task.checkpoint(), threshold=found['threshold'],
                ap=found['AP'], ap50=found['AP50'], commands=commands)


def _put_aside(folder: Path) -> None:
    """Rename a training of other options, which must not be continued."""
    if folder.exists():
        number = 1
        while (other := folder.with_name(f'{folder.name}_before_{number}')).exists():
            number += 1
        folder.rename(other)
        print(f'the earlier training is kept in {other}')


#: The stages, in order.
STAGES = [
    Stage('data', 'Data', look_at_data, lambda task: [task.config]),
    Stage('train', 'Training', train, lambda task: [task.train_dir / 'last_checkpoint']),
    Stage('evaluate', 'Evaluation', evaluate, lambda task: [task.report, task.page]),
]
#: The same for a pose model.
POSE_STAGES = [
    Stage('data', 'Data', look_at_poses, STAGES[0].outputs),
    STAGES[1],
    Stage('evaluate', 'Evaluation', evaluate_pose_model, STAGES[2].outputs),
]
