"""Processes that are waited for and killed in the middle of their work."""
import os
import signal
import subprocess
import sys
import time
from typing import Callable, Sequence

from tests.conftest import ROOT

_CALM = 0.01


def start(command: Sequence, **options) -> subprocess.Popen:
    """Start Python on a script (or ``-c`` and a program) of this repository.

    Args:
        command (Sequence): What follows ``python``.
        **options: Of :class:`subprocess.Popen`. What the process writes is thrown away,
            unless they say otherwise.
    """
    options = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL, **options}
    return subprocess.Popen(
        [sys.executable, '-u', *map(str, command)], cwd=ROOT, text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'), **options)


def start_and_read(command: Sequence) -> subprocess.Popen:
    """Start Python with what it writes, errors too, on ``stdout`` of the result."""
    return start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something to be true; fail if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(_CALM)


def kill_when(process: subprocess.Popen, condition: Callable[[], object],
              seconds: float = 300) -> None:
    """``kill -9`` a process, and it alone, once something is true; fail if it ends before."""

    def is_time() -> bool:
        moment = condition()
        assert process.poll() is None, 'the process ended before it could be killed'
        return bool(moment)

    wait_until(is_time, seconds)
    _kill(process)


def kill_at_line(process: subprocess.Popen, text: str) -> str:
    """``kill -9`` a process of :func:`start_and_read` at a line; return what it wrote."""
    written = ''
    for line in process.stdout:
        written += line
        if text in line:
            _kill(process)
            return written
    raise AssertionError(f'the process ended without {text!r}:\n{written[-3000:]}')


def _kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
