"""What the command-line tools share: options and plain error messages."""
import argparse
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Callable, Optional

from mmengine.config import DictAction

from mmyolonas.utils.child import end_with_parent
from mmyolonas.utils.errors import ConfigError, UserError
from mmyolonas.utils.files import is_full_disk

CFG_OPTIONS_HELP = (
    'override settings of the config: key=value pairs such as '
    'train_dataloader.batch_size=8 model.bbox_head.num_classes=3 key="[a,b]"; quote values '
    'with brackets, no white space within')


#: Exit codes: 1 for what was given, 2 for the command line (argparse's), 3 for what is left.
UNEXPECTED, INTERRUPTED = 3, 130
#: Environment variable with the folder of the log of unexpected errors.
LOG_FOLDER = 'MMYOLONAS_LOG_DIR'
_LOG = 'mmyolonas_errors.log'
#: Keys of a config: names and numbers with dots between them.
_KEY = re.compile(r'[\w/-]+(\.[\w/-]+)*')
#: What mmengine says of a name or a value in a config that does not exist or fit.
_CONFIG = re.compile(r'is not in the \S+ registry|^["\']?class `\w+` in ')


def run_main(main: Callable[[], Optional[int]]) -> None:
    """Call a tool's ``main`` and end the process.

    Whatever happens is one sentence. What was given and is wrong (a :class:`UserError`,
    a ``DataError``, a full disk, a file that may not be read) gives exit code 1; anything
    else 3, and its traceback is in ``mmyolonas_errors.log`` of the working folder (or of
    ``$MMYOLONAS_LOG_DIR``, or the system's folder for temporary files), which is named.
    An interrupt gives 130.
    """
    end_with_parent()
    # a log that cannot be written must not bury what happens in tracebacks of its own
    logging.raiseExceptions = False
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        known = explain(error)
        if known is not None:
            if isinstance(error, ConfigError):
                known += f' The details are in {_keep_traceback(error)}.'
            print(f'error: {visible(known)}', file=sys.stderr)
            sys.exit(1)
        text = ' '.join(str(error).split())[:300]
        log = _keep_traceback(error)
        print(f'error: unexpected {type(error).__name__}{": " * bool(text)}{visible(text)}. '
              + (f'The details are in {log}; please report them.' if log else
                 f'The details could not be written to {_LOG}.'), file=sys.stderr)
        sys.exit(UNEXPECTED)


def explain(error: BaseException) -> Optional[str]:
    """Return the sentence for an error whose cause is known, else None."""
    from mmyolonas.utils.data_error import DataError
    if isinstance(error, (UserError, DataError)):
        return _sentence(error)
    if is_full_disk(error):
        where = f' {error.filename}' if getattr(error, 'filename', None) else ''
        return (f'cannot write{where}: {os.strerror(error.errno)}. Make room and start the same '
                'command again.')
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f'{error.filename}: {error.strerror}.'
    if isinstance(error, ImportError) and 'Install it with' in str(error):
        return str(error)
    if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)) and _CONFIG.search(
            str(error)):
        return (f'the config cannot be built: {" ".join(str(error).split())[:300]}. Check names '
                'and values, custom_imports and default_scope.')
    if isinstance(error, MemoryError) or 'out of memory' in str(error) or (
            "can't allocate memory" in str(error)):
        return ('there is not enough memory for this: take smaller batches or images '
                f'({" ".join(str(error).split())[:120] or "out of memory"}).')
    return None


def _keep_traceback(error: BaseException) -> Optional[Path]:
    """Append a traceback to the log; return where it is, None if it can be nowhere."""
    head = f'{time.strftime("%Y-%m-%d %H:%M:%S")} {" ".join(sys.argv)}\n'
    text = head + ''.join(traceback.format_exception(error)) + '\n'
    for folder in (os.environ.get(LOG_FOLDER) or '.', tempfile.gettempdir()):
        path = Path(folder).absolute() / _LOG
        try:
            with open(path, 'a', encoding='utf-8', errors='backslashreplace') as file:
                file.write(text)
            return path
        except OSError:
            pass
    return None


def _sentence(error: BaseException) -> str:
    """Return an error's message without the traceback that a data worker adds."""
    message = str(error)
    if message.startswith('Caught '):
        message = message.rstrip().rsplit(f'{type(error).__name__}: ', 1)[-1]
    return message


def visible(text: str) -> str:
    """Return text whose control characters (but line feeds) can be seen."""
    return ''.join(c if c.isprintable() or c == '\n' else c.encode(
        'unicode_escape', 'backslashreplace').decode() for c in text)


class ConfigOptions(DictAction):
    """``KEY=VALUE ...``; mmengine's own fails in a traceback at anything else."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Check the form of each pair, then read them as mmengine does."""
        for item in values:
            if not item.partition('=')[0].strip() or '=' not in item:
                parser.error(f'argument {option_string}: takes KEY=VALUE, got {item!r}')
            if not _KEY.fullmatch(item.partition('=')[0].strip()):
                parser.error(f'argument {option_string}: {item.partition("=")[0]!r} is no key of a '
                             'config')
        try:
            super().__call__(parser, namespace, values, option_string)
        except Exception as error:
            parser.error(f'argument {option_string}: {" ".join(values)!r} cannot be read: {error}')


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
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, help=CFG_OPTIONS_HELP)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--work-dir`` and the options of distributed runs."""
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and results '
        '(default: work_dir of the config, else work_dirs/<config name>)')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
        help='how the processes of a distributed run are started')
    add_local_rank(parser)


def add_local_rank(parser: argparse.ArgumentParser) -> None:
    """Add what torch.distributed.launch passes, in either spelling; nobody types it."""
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)
