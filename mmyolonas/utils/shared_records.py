"""Records that several processes write to one file and read from it."""
import json
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from filelock import FileLock

from mmyolonas.utils.files import PathLike, explain_full_disk


class SharedRecords:
    """A table of JSON lines, ``{"key": ..., ...}``, appended under a lock.

    A line that a killed process left unfinished is closed by the next writer and skipped
    by every reader. Of equal keys the first counts.

    Args:
        path (str | Path): The file; there may be none yet.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._known: Dict[str, Dict[str, Any]] = {}
        self._read = 0

    def get(self, key: str) -> Optional[Dict[str, Any]]:
        """Return the record of a key, whoever wrote it, or None."""
        if key not in self._known:
            self._refresh()
        return self._known.get(key)

    def put(self, key: str, **values: Any) -> Dict[str, Any]:
        """Append a record, unless another process was quicker; return the one that counts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{self.path}.lock'):
            self._refresh()
            if key not in self._known:
                with explain_full_disk(self.path, 'Make room and start the same command again.'), \
                        open(self.path, 'a+b') as file:
                    text = json.dumps(dict(key=key, **values)).encode() + b'\n'
                    end = file.seek(0, 2)
                    if end:
                        file.seek(end - 1)
                        text = text if file.read(1) == b'\n' else b'\n' + text
                    file.write(text)
                self._refresh()
        return self._known[key]

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Yield the records."""
        self._refresh()
        return iter(list(self._known.values()))

    def _refresh(self) -> None:
        """Read the complete lines that were added since the last look."""
        if not self.path.is_file():
            return
        with open(self.path, 'rb') as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b'\n'):
                    break
                self._read += len(line)
                try:
                    record = json.loads(line)
                    self._known.setdefault(record['key'], record)
                except (ValueError, KeyError, TypeError):
                    continue  # half a line of a process that was killed
