"""Processes that are waited for and killed in the middle of their work."""
import os
import signal
import time
from typing import Callable, Sequence

from tests.forked import Forked

_CALM = 0.01


def start(command: Sequence) -> Forked:
    """Start a script (or ``-c`` and a program) of this repository; its output is thrown away."""
    return Forked(command)


def start_and_read(command: Sequence) -> Forked:
    """Start a script with what it writes, errors too, on ``stdout`` of the result."""
    return Forked(command, read=True)


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something to be true; fail if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(_CALM)


def kill_when(process: Forked, condition: Callable[[], object],
              seconds: float = 300) -> None:
    """``kill -9`` a process, and it alone, once something is true; fail if it ends before."""

    def is_time() -> bool:
        moment = condition()
        assert process.poll() is None, 'the process ended before it could be killed'
        return bool(moment)

    wait_until(is_time, seconds)
    _kill(process)


def kill_at_line(process: Forked, text: str) -> str:
    """``kill -9`` a process of :func:`start_and_read` at a line; return what it wrote."""
    written = ''
    for line in process.stdout:
        written += line
        if text in line:
            _kill(process)
            return written
    raise AssertionError(f'the process ended without {text!r}:\n{written[-3000:]}')


def _kill(process: Forked) -> None:
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
