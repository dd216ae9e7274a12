"""Writing files so that a reader never sees half of one."""
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Union

PathLike = Union[str, Path]


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path that takes the place of ``path`` on success.

    The temporary file lies in the folder of ``path`` (which is created) and
    keeps its suffix, since many writers choose the format by it. After an
    error it is removed and ``path`` is as it was.

    Args:
        path (str | Path): The file to write.

    Yields:
        Path: Where to write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f'.{path.stem}.', suffix=f'.part{path.suffix}', dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files private; give them what open() would have given
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Force the file's content to the disk; a full disk is noticed here."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write ``text`` to ``path`` atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + '\n')
