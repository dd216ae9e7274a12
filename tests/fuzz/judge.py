"""What became of a case: a result, a sentence, or something that must not be."""
import argparse
import contextlib
import io
import json
import os
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Tuple

from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from tests.run_tool import run_tool

#: Seconds of a case after which it hangs, and bytes that it may take.
LIMIT, MEMORY = 20, 2 << 30
#: What says what is wrong, and what to do, without a traceback.
SENTENCES: Tuple[type, ...] = (UserError, DataError, argparse.ArgumentTypeError)

#: Outcomes by kind of input, of a property.
figures: Counter = Counter()


class Hang(Exception):
    """A case took longer than :data:`LIMIT`."""


class SilentDrop(AssertionError):
    """Something of the input is not in the result, and nobody said so."""


@contextlib.contextmanager
def time_limit(seconds: float = LIMIT):
    """Raise :class:`Hang` after some seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_) -> None:
        raise Hang(f'longer than {seconds} s')

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(kind: str, call: Callable[[], Any], errors: Tuple[type, ...] = ()) -> Any:
    """Run a case, count what became of it, and fail if that must not be.

    Args:
        kind (str): Kind of input, for the figures.
        call (Callable): The case.
        errors (tuple): Further errors whose message is a sentence by their documentation.

    Returns:
        Any: What the call gave; the error if it ended in a sentence.
    """
    start = time.monotonic()
    figures[kind, 'cases'] += 1
    try:
        with time_limit():
            found = call()
        figures[kind, 'results'] += 1
        return found
    except (*SENTENCES, *errors) as error:
        text = str(error)
        assert text.strip(), f'{type(error).__name__} without a word'
        assert len(text) < 2000 and text.count('\n') <= 1, f'no sentence: {text[:300]!r}'
        figures[kind, 'sentences'] += 1
        return error
    except Hang:
        figures[kind, 'hangs'] += 1
        raise
    except SilentDrop:
        figures[kind, 'silent drops'] += 1
        raise
    except BaseException:
        figures[kind, 'tracebacks'] += 1
        raise
    finally:
        figures[kind, 'longest'] = max(figures[kind, 'longest'], time.monotonic() - start)
        note()


def judge_tool(kind: str, tool: str, *arguments: Any) -> Tuple[int, str]:
    """Run a tool with a command line; its exit code and what it said on standard error.

    Fails if it ends in a traceback, with an unexpected error, or without a word.
    """
    out, err = io.StringIO(), io.StringIO()

    def call() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_tool(tool, *arguments)
        text = err.getvalue()
        assert code in (0, 1, 2), f'{tool} {arguments}: exit code {code}: {text[-500:]}'
        assert 'Traceback' not in text, text[-2000:]
        if code:
            said = text.rpartition('error: ')[2].strip()
            assert 'error: ' in text and said, f'{tool} {arguments}: {code}, {text[-300:]!r}'
            raise UserError(' '.join(said.split()))
        return code

    found = judge(kind, call)
    return (0 if found == 0 else 1), err.getvalue()


def peak_memory() -> int:
    """Return the largest memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def figures_path(folder: Path, name: str) -> Path:
    """Return where the figures of a property are, by its id in pytest."""
    stem = name.rsplit('tests/fuzz/', 1)[-1]
    return Path(folder) / (''.join(c if c.isalnum() or c in '-_' else '_' for c in stem) + '.json')


def note(**more: Any) -> None:
    """Keep the figures of this property where ``tests/fuzz/run.py`` reads them."""
    folder, name = os.environ.get('FUZZ_FIGURES'), os.environ.get('PYTEST_CURRENT_TEST', '')
    if folder and name:
        rows: dict = {}
        for (kind, figure), value in figures.items():
            rows.setdefault(kind, {})[figure] = value
        figures_path(Path(folder), name.rpartition(' (')[0]).write_text(
            json.dumps(dict(kinds=rows, peak=peak_memory(), **more)))
