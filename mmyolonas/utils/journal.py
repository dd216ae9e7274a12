"""A file that grows line by line and survives the end of the process at any moment."""
import json
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Dict, Iterator

from mmyolonas.utils.files import PathLike, explain_full_disk


class Journal(AbstractContextManager):
    """Records of long work, one JSON object a line; what a killed process wrote is kept.

    The first line is a header that says what the records depend on. A journal
    with another header is begun anew; a last line that was cut short is removed.

    Args:
        path (str | Path): The file.
        header (dict): Plain values: settings and files behind the records.
        sync_interval (float): Seconds after which a record is forced to the
            disk; a crash of the machine (not of the process) loses no more.
            Defaults to 5.

    Attributes:
        discarded (bool): Whether a journal of other settings was thrown away.
    """

    def __init__(self, path: PathLike, header: Dict[str, Any], sync_interval: float = 5) -> None:
        self.path = Path(path)
        self.header = json.loads(json.dumps(header))
        self.sync_interval = sync_interval
        self.discarded = False
        self._last_sync = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        end = self._usable_length()
        self._file = open(self.path, 'r+b' if end else 'wb')
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self.write(self.header)

    def _usable_length(self) -> int:
        """Return the length of the complete lines under the right header; 0 for none."""
        if not self.path.is_file():
            return 0
        end = 0
        with open(self.path, 'rb') as file:
            for number, line in enumerate(file):
                record = _parse(line)
                if number == 0 and record != self.header:
                    self.discarded = record is not None
                    return 0
                if record is None:
                    break
                end += len(line)
        return end

    def write(self, record: Dict[str, Any]) -> None:
        """Append a record.

        Raises:
            UserError: The disk is full; the complete records are kept.
        """
        with explain_full_disk(self.path, 'What was done so far is kept; make room and start the '
                               'same command again.'):
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b'\n')
            self._file.flush()
            if time.monotonic() - self._last_sync > self.sync_interval:
                os.fsync(self._file.fileno())
                self._last_sync = time.monotonic()

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Yield the records behind the header, one at a time, from the file."""
        with open(self.path, 'rb') as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def close(self) -> None:
        """Close the file; it stays."""
        try:
            self._file.close()
        except OSError:
            pass  # said when it was written; a full disk fails again here

    def remove(self) -> None:
        """Close and remove the file: the work is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __exit__(self, *_) -> None:
        self.close()


def _parse(line: bytes) -> Any:
    """Return the object of a complete line, else None."""
    if not line.endswith(b'\n'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
