"""Where studies are kept: optuna's journal file, or a data base."""
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, explain_full_disk

#: Seconds after which what was written is forced to the disk; a crash of the machine (not
#: of the process) loses no more.
_SYNC_INTERVAL = 5.


def import_optuna() -> Any:
    """Return optuna, silent.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError('the search needs optuna: pip install optuna') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_storage(place: PathLike) -> Any:
    """Return a storage that several processes on several machines may share.

    Args:
        place (str | Path): A URL of SQLAlchemy's kind (``postgresql://...``,
            ``sqlite:///...``), or a file for optuna's journal, which works on NFS.

    Raises:
        UserError: optuna is missing, or the file is not a journal.
    """
    optuna = import_optuna()
    if '://' in str(place):
        return optuna.storages.RDBStorage(str(place))
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return optuna.storages.JournalStorage(_journal_file(path))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is no journal of optuna ({error}); give another file.') from error


def _journal_file(path: Path) -> Any:
    """Return optuna's journal file that does not wait for the disk at every number.

    An architecture is some fifty numbers, each a line of its own.
    """
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    class JournalFile(JournalFileBackend):
        """Locked like optuna's own, and read by it."""

        def __init__(self) -> None:
            self._own_lock = JournalFileSymlinkLock(str(path))
            self._last_sync = time.monotonic()
            super().__init__(str(path), self._own_lock)
            self._own_lock.acquire()
            try:
                _cut_broken_end(path)
            finally:
                self._own_lock.release()

        def append_logs(self, logs: List[Dict[str, Any]]) -> None:
            lines = ''.join(json.dumps(log, separators=(',', ':')) + '\n' for log in logs)
            self._own_lock.acquire()
            try:
                with explain_full_disk(path, 'Make room and start the same command again.'), \
                        open(path, 'ab') as file:
                    file.write(lines.encode())
                    file.flush()
                    if time.monotonic() - self._last_sync > _SYNC_INTERVAL:
                        os.fsync(file.fileno())
                        self._last_sync = time.monotonic()
            finally:
                self._own_lock.release()

    return JournalFile()


def _cut_broken_end(path: Path) -> None:
    """Remove a last line that a killed process did not finish; optuna would stop there."""
    with open(path, 'rb+') as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - (1 << 16)))
        tail = file.read()
        if tail and not tail.endswith(b'\n'):
            file.truncate(end - len(tail) + tail.rfind(b'\n') + 1)
