"""From a config and the options of a command line to a runner."""
import argparse
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from mmengine.config import Config
from mmengine.runner import Runner

from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.configs import config_errors
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.outputs import check_folder


def prepare_run(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--launcher`` and ``--work-dir``.

    The folder is the option's, else the config's ``work_dir``, else
    ``work_dirs/<config name>``.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    check_folder(cfg.work_dir)
    use_processes(cfg)


def use_processes(cfg: Config) -> None:
    """Let several processes work where there is no accelerator.

    mmengine's launchers, its model wrapper and PyTorch's synchronised batch
    norm expect GPUs. Without any, the processes are connected through gloo
    and the model is wrapped by :class:`mmyolonas.CPUDataParallel`, which also
    does what ``sync_bn`` asks for. Elsewhere, and with one process, nothing
    happens.

    Args:
        cfg (Config): With its ``launcher``; changed in place.
    """
    from mmyolonas.compat.processes import init_processes_on_cpu
    from mmyolonas.engine.optimizers.auto_amp_optim_wrapper import has_accelerator
    if cfg.get('launcher', 'none') == 'none' or has_accelerator():
        return
    init_processes_on_cpu(cfg.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    sync_bn = cfg.pop('sync_bn', None) is not None
    cfg.setdefault('model_wrapper_cfg', dict(
        type='mmyolonas.CPUDataParallel', sync_bn=sync_bn,
        find_unused_parameters=cfg.get('find_unused_parameters', False)))


def apply_amp(cfg: Config, requested: bool = False) -> None:
    """Switch mixed precision on, or leave it out where there is no accelerator.

    Args:
        cfg (Config): Changed in place.
        requested (bool): Whether ``--amp`` was given; a config may ask for mixed
            precision by itself.

    Raises:
        UserError: The config has an optimizer wrapper of another kind.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        return
    kind = wrapper.get('type', 'OptimWrapper')
    kind = kind if isinstance(kind, str) else kind.__name__
    name = kind.rsplit('.', 1)[-1]
    mixed = name in ('AmpOptimWrapper', 'AutoAmpOptimWrapper')
    if mixed or (requested and name == 'OptimWrapper'):
        # in single precision on a CPU, and says so
        wrapper.type = 'mmyolonas.AutoAmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    elif requested:
        raise UserError(f'--amp does not work with the optimizer wrapper {kind} of the config.')


def apply_auto_scale_lr(cfg: Config, requested: bool) -> None:
    """Scale the learning rate with the batch size, if ``--auto-scale-lr`` was given.

    Raises:
        UserError: The config does not say for which batch size its rate is.
    """
    if not requested:
        return
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config: the '
            'batch size (over all GPUs) that its learning rate is meant for.')
    cfg.auto_scale_lr.enable = True


def apply_resume(cfg: Config, resume: Optional[str]) -> None:
    """Apply ``--resume``.

    ``auto`` continues from the last checkpoint of the work folder; where there
    is none, training starts as the config says (with its ``load_from``), so
    that a job which is restarted again and again may always pass the option.

    Args:
        cfg (Config): Changed in place.
        resume (str, optional): None, 'auto' or a checkpoint.

    Raises:
        UserError: The checkpoint does not exist.
    """
    if resume is None:
        return
    if resume == 'auto':
        checkpoint = last_checkpoint(cfg.work_dir)
        if checkpoint is None:
            print(f'nothing to resume in {cfg.work_dir}: starting from the beginning',
                  file=sys.stderr)
            return
    else:
        checkpoint = Path(resume)
        if not checkpoint.is_file() and '://' not in resume:
            raise UserError(f'cannot resume: checkpoint {resume} does not exist.')
    cfg.resume = True
    cfg.load_from = str(checkpoint) if resume == 'auto' else resume


@contextmanager
def only_training(cfg: Config) -> Iterator[None]:
    """Be the only training of a work folder; the first process of a distributed one counts.

    Raises:
        UserError: Another training is running there; each would overwrite the other's
            checkpoints.
    """
    if int(os.environ.get('RANK', 0)):
        yield
        return
    os.makedirs(cfg.work_dir, exist_ok=True)
    with only_writer(cfg.work_dir, advice='Wait until it has ended, or give another --work-dir.'):
        yield


def build_runner(cfg: Config) -> Runner:
    """Build the runner that the config asks for.

    Args:
        cfg (Config): A whole config; see :func:`prepare_run`.

    Returns:
        Runner: With :class:`~mmyolonas.engine.hooks.resume_hook.ResumeHook` if it resumes.
    """
    from mmengine.registry import RUNNERS

    from mmyolonas.engine.hooks.resume_hook import ResumeHook
    with config_errors():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if cfg.get('resume'):
        runner.register_hook(ResumeHook())
    return runner
