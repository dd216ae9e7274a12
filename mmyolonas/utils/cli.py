"""What the command-line tools share: options, configs, and plain error messages."""
import argparse
import difflib
import os
import sys
import warnings
from pathlib import Path
from typing import Callable, Optional

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmyolonas.utils.child import end_with_parent
from mmyolonas.utils.errors import UserError

CFG_OPTIONS_HELP = (
    'override settings of the config: key=value pairs such as '
    'train_dataloader.batch_size=8 model.bbox_head.num_classes=3 key="[a,b]"; quote values '
    'with brackets, no white space within')


def run_main(main: Callable[[], Optional[int]]) -> None:
    """Call a tool's ``main`` and end the process.

    A :class:`UserError` or ``DataError`` is printed as one sentence with exit
    code 1, an interrupt gives exit code 130; other errors keep their traceback.
    """
    end_with_parent()
    # of mmdet's point generator: nothing that a user can act on
    warnings.filterwarnings('ignore', message='torch.meshgrid', category=UserWarning)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from mmyolonas.datasets.data_error import DataError
        if not isinstance(error, (UserError, DataError)):
            raise
        print(f'error: {_sentence(error)}', file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    """Return an error's message without the traceback that a data worker adds."""
    message = str(error)
    if message.startswith('Caught '):
        message = message.rstrip().rsplit(f'{type(error).__name__}: ', 1)[-1]
    return message


def new_parser(description: str, epilog: Optional[str] = None) -> argparse.ArgumentParser:
    """Return a parser whose ``--help`` keeps the layout of its description."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``config`` and ``--cfg-options``."""
    parser.add_argument('config', help='config file')
    add_cfg_options(parser)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` alone."""
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help=CFG_OPTIONS_HELP)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--work-dir`` and the options of distributed runs."""
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and results '
        '(default: work_dir of the config, else work_dirs/<config name>)')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
        help='how the processes of a distributed run are started')
    # torch.distributed.launch passes it in either spelling
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def load_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config and apply ``--cfg-options``.

    Args:
        path (str): Config file, or ``mmyolonas::yolonas/yolonas_s_coco.py`` for
            one that is installed with the package.
        cfg_options (dict, optional): Keys (with dots) and values to override.

    Raises:
        UserError: There is no such file; the message names similar ones.
    """
    if '::' in path and not Path(path).is_file():
        # mmengine resolves package configs of _base_ entries only
        path = str(installed_config(path))
    if not Path(path).is_file():
        raise UserError(f'config {path} does not exist.{_similar_configs(path)}')
    cfg = Config.fromfile(path)
    if cfg_options:
        try:
            cfg.merge_from_dict(cfg_options)
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(f'--cfg-options do not fit the config: {error}') from error
    return cfg


def installed_config(name: str) -> Path:
    """Return the path of ``package::relative/config.py``."""
    from importlib.util import find_spec
    package, _, relative = name.partition('::')
    spec = find_spec(package)
    if spec is None:
        raise UserError(f'{name}: package {package} is not installed.')
    folder = Path(spec.origin).parent
    for root in (folder / '.mim' / 'configs', folder.parent / 'configs'):
        if (root / relative).is_file():
            return root / relative
    return folder / '.mim' / 'configs' / relative


def _similar_configs(path: str) -> str:
    folders = [Path('configs'), Path(__file__).parents[2] / 'configs']
    found = {p.stem: p for folder in folders for p in sorted(folder.rglob('*.py'))
             if '_base_' not in p.parts}
    names = difflib.get_close_matches(Path(path).stem, found, n=3, cutoff=0.5)
    if not names:
        return ' Give the path of a config file, for example configs/yolonas/yolonas_s_coco.py.'
    return f' Did you mean {", ".join(os.path.relpath(found[name]) for name in names)}?'


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


def last_checkpoint(work_dir: str) -> Optional[Path]:
    """Return the last checkpoint of a training, or None.

    The pointer that mmengine writes holds a path as seen from the folder in
    which training was started; a moved work folder is found as well.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    noted = Path(pointer.read_text().strip())
    for candidate in (Path(work_dir) / noted.name, noted):
        if candidate.is_file():
            return candidate
    raise UserError(
        f'{pointer} names {noted}, which does not exist; give the checkpoint to continue from '
        'as --resume CHECKPOINT, or remove the pointer to start anew.')


def check_checkpoint(path: str) -> str:
    """Return the path of a checkpoint after a look whether it exists.

    Raises:
        UserError: It does not.
    """
    if '://' not in path and not Path(path).is_file():
        raise UserError(f'checkpoint {path} does not exist.')
    return path


def build_runner(cfg: Config) -> Runner:
    """Build the runner that the config asks for."""
    if 'runner_type' not in cfg:
        return Runner.from_cfg(cfg)
    from mmengine.registry import RUNNERS
    return RUNNERS.build(cfg)
