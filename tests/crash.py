"""Processes that are killed while they write, and disks that are full: one helper for all."""
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

#: What :func:`in_child` gives for a child that was killed.
KILLED = 'killed'


def in_child(work: Callable[[], Any], disk: Optional[int] = None,
             kill_at: Optional[int] = None) -> Tuple[str, Any]:
    """Do work in a copy of this process.

    Args:
        work (Callable): Returns something that can be pickled.
        disk (int, optional): No file may become larger than so many bytes, as if the
            disk were full: the system refuses the rest of a write (EFBIG).
        kill_at (int, optional): The process is killed (SIGKILL) when it forces a file
            to the disk for the n-th time, from 1: all is written, nothing has its name.

    Returns:
        tuple[str, Any]: ('returned', what), ('raised', the exception's type, text) or
        ('killed', None).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        answer = _work(work, disk, kill_at)
        os.write(writer, pickle.dumps(answer))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, 'rb') as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return KILLED, None
    assert status == 0, f'the child ended with {status}'
    return pickle.loads(text)


def _work(work: Callable[[], Any], disk: Optional[int], kill_at: Optional[int]) -> Tuple[str, Any]:
    if disk is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, hard))
    if kill_at is not None:
        calls = []

        def fsync(handle: int, original=os.fsync) -> None:
            original(handle)
            calls.append(handle)
            if len(calls) >= kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = fsync
    try:
        return 'returned', work()
    except BaseException as error:
        return 'raised', (type(error).__name__, getattr(error, 'errno', None), str(error))


def hidden(folder: Path) -> List[str]:
    """Return the hidden files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('.*'))
