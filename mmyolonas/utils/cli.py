"""What the command-line tools share: options and plain error messages."""
import argparse
import sys
import warnings
from typing import Callable, Optional

from mmengine.config import DictAction

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
        from mmyolonas.utils.data_error import DataError
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
