"""One process at a time in a folder, or at a file."""
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

from filelock import FileLock, Timeout

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, is_full_disk

#: Locks that this process holds: the lock and how often.
_held: Dict[str, Tuple[FileLock, int]] = {}


@contextmanager
def only_writer(path: PathLike, timeout: float = 0,
                advice: str = 'Wait until it has ended, or give another folder.'
                ) -> Iterator[None]:
    """Be the only process that writes to a file or folder.

    The lock is the system's own on a hidden file, so it goes with the process, however
    that ends. The same process may take it again.

    Args:
        path (str | Path): The file, whose folder is created, or an existing folder.
        timeout (float): Seconds to wait for the other process. Defaults to 0.
        advice (str): What to do when another process has it, a sentence.

    Raises:
        UserError: Another process has it, or there is nowhere to write.
    """
    path = Path(path)
    place = path / '.lock' if path.is_dir() else path.with_name(f'.{path.name}.lock')
    name = os.path.realpath(place)
    lock, count = _held.get(name, (None, 0))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = lock or _acquire(name, timeout)
    except Timeout:
        raise UserError(f'another process is writing to {path}. {advice}') from None
    except (OSError, NotImplementedError) as error:
        if is_full_disk(error):
            raise
        raise UserError(f'cannot write {path}: {getattr(error, "strerror", None) or error}. '
                        'Choose a place you may write to.') from error
    _held[name] = lock, count + 1
    try:
        yield
    finally:
        lock, count = _held.pop(name)
        if count > 1:
            _held[name] = lock, count - 1
        else:
            if _is_current(lock, name):
                with suppress(OSError):
                    os.unlink(name)
            lock.release()


def _acquire(name: str, timeout: float) -> FileLock:
    """Lock a file, which the process that had it before may have removed in the meantime."""
    while True:
        lock = FileLock(name, timeout=timeout, thread_local=False)
        lock.acquire()
        if _is_current(lock, name) is not False:
            return lock
        lock.release()


def _is_current(lock: FileLock, name: str) -> Optional[bool]:
    """Whether the locked file is still the one of that name; None if that cannot be told."""
    handle = getattr(getattr(lock, '_context', None), 'lock_file_fd', None)
    if handle is None or os.name == 'nt':
        return None
    try:
        return os.path.samestat(os.fstat(handle), os.stat(name))
    except OSError:
        return False
