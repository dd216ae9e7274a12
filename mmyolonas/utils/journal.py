"""A file that grows line by line and survives the end of the process at any moment."""
import json
import os
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator

from mmyolonas.utils.files import PathLike, explain_full_disk
from mmyolonas.utils.locks import only_writer


class Journal(AbstractContextManager):
    """Records of long work, one JSON object a line; what a killed process wrote is kept.

    The first line is a header that says what the records depend on. A journal
    with another header is put aside (``.old``) and a new one begun. Nothing is ever
    cut: lines that cannot be read, such as a last one that a killed process did not
    finish, are passed over. One process at a time may write to it.

    Args:
        path (str | Path): The file.
        header (dict): Plain values: settings and files behind the records.
        sync_interval (float): Seconds after which a record is forced to the
            disk; a crash of the machine (not of the process) loses no more.
            Defaults to 5.
        advice (str): What to do if another process is writing to it.

    Attributes:
        discarded (bool): Whether a journal of other settings was put aside.

    Raises:
        UserError: Another process is writing to it, or the folder cannot be written to.
    """

    def __init__(self, path: PathLike, header: Dict[str, Any], sync_interval: float = 5,
                 advice: str = 'Wait until it has ended, or give another output.') -> None:
        self.path = Path(path)
        self.header = json.loads(json.dumps(header))
        self.sync_interval = sync_interval
        self.discarded = False
        self._last_sync = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(only_writer(self.path, advice=advice))
            whole = self._put_aside_others()
            with explain_full_disk(self.path, 'Make room and start the same command again.'):
                self._file = stack.enter_context(open(self.path, 'ab'))
                if not self._file.tell():
                    self.write(self.header)
                elif not whole:
                    self._file.write(b'\n')  # what follows begins a line of its own
            self._open = stack.pop_all()

    @property
    def _old(self) -> Path:
        return self.path.with_name(f'{self.path.name}.old')

    def _put_aside_others(self) -> bool:
        """Rename a journal with another header; return whether the last line is complete."""
        if not self.path.is_file() or not self.path.stat().st_size:
            return True
        with open(self.path, 'rb') as file:
            first = parse_line(file.readline())
            file.seek(-1, os.SEEK_END)
            whole = file.read() == b'\n'
        if first != self.header:
            self.discarded = first is not None
            os.replace(self.path, self._old)
        return whole

    def write(self, record: Dict[str, Any]) -> None:
        """Append a record.

        Raises:
            UserError: The disk is full; the complete records are kept.
        """
        with explain_full_disk(self.path, 'What was done so far is kept; make room and start the '
                               'same command again.'):
            self._file.write(json.dumps(record, ensure_ascii=False).encode(
                errors='backslashreplace') + b'\n')
            self._file.flush()
            if time.monotonic() - self._last_sync > self.sync_interval:
                os.fsync(self._file.fileno())
                self._last_sync = time.monotonic()

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Yield the readable records behind the header, one at a time, from the file."""
        with open(self.path, 'rb') as file:
            next(file, None)
            yield from read_lines(file)

    def close(self) -> None:
        """Close the file; it stays."""
        with suppress(OSError):  # said when it was written; a full disk fails again here
            self._open.close()

    def remove(self) -> None:
        """Close and remove the file: the work is complete."""
        self.path.unlink(missing_ok=True)
        self._old.unlink(missing_ok=True)
        self.close()

    def __exit__(self, *_) -> None:
        self.close()


def read_lines(lines: Iterable[bytes]) -> Iterator[Any]:
    """Yield the objects (or lists) of complete, readable lines."""
    for line in lines:
        record = parse_line(line)
        if isinstance(record, (dict, list)):
            yield record


def parse_line(line: bytes) -> Any:
    """Return the object of a complete line, else None."""
    if not line.endswith(b'\n'):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
