"""Writing files so that a reader never sees half of one."""
import errno
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Union

from mmyolonas.utils.errors import FullDiskError, UserError

PathLike = Union[str, Path]

#: System errors of a full disk and an exhausted quota.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

#: Suffixes of the image formats that OpenCV reads.
IMAGE_SUFFIXES = frozenset(
    ('.bmp', '.dib', '.jpeg', '.jpg', '.jp2', '.png', '.ppm', '.pgm', '.tif', '.tiff', '.webp'))


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


# it can only be read by setting it, which must not happen while threads write files
_UMASK = _umask()


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

    Raises:
        UserError: The folder cannot be created or written to.
        OSError: There is no room; see :func:`explain_full_disk`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f'.{path.stem}.', suffix=f'.part{path.suffix}', dir=path.parent)
    except OSError as error:
        if is_full_disk(error):
            raise
        raise UserError(f'cannot write {path}: {error.strerror}. Choose a folder you may write '
                        'to.') from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files private; give them what open() would have given
        os.chmod(temporary, 0o666 & ~_UMASK)
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


def file_digest(path: PathLike, algorithm: str = 'sha256') -> str:
    """Return the checksum of a file in hexadecimal, read in pieces.

    Args:
        path (str | Path): The file.
        algorithm (str): A name that :func:`hashlib.new` knows. Defaults to 'sha256'.
    """
    digest = hashlib.new(algorithm)
    with open(path, 'rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk or a quota is full."""
    return isinstance(error, FullDiskError) or (
        isinstance(error, OSError) and error.errno in FULL_DISK)


@contextmanager
def explain_full_disk(path: PathLike, advice: str) -> Iterator[None]:
    """Turn the error of a full disk (or quota) into a sentence.

    Args:
        path (str | Path): What is being written.
        advice (str): What is kept and how to go on, a sentence.

    Raises:
        FullDiskError: There was no room.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise FullDiskError(f'cannot write {path}: {os.strerror(error.errno)}. {advice}') from error
