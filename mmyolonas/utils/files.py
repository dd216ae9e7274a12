"""Writing files so that a reader never sees half of one."""
import errno
import glob
import hashlib
import io
import json
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence, Union

from mmyolonas.utils.errors import FullDiskError, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PathLike = Union[str, Path]

#: System errors of a full disk, an exhausted quota and a file larger than may be.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Seconds after which an unfinished file that no process holds is nobody's.
_ABANDONED = 10.

#: Suffixes of the image formats that OpenCV reads.
IMAGE_SUFFIXES = frozenset(
    ('.bmp', '.dib', '.jfif', '.jpe', '.jpeg', '.jpg', '.jp2', '.png', '.pbm', '.ppm', '.pgm',
     '.tif', '.tiff', '.webp'))

#: Suffixes of pictures that are not read, which is said where one is met.
OTHER_PICTURES = frozenset(('.heic', '.heif', '.avif', '.jxl', '.gif', '.dng', '.cr2', '.cr3',
                            '.nef', '.arw', '.orf', '.raf', '.rw2', '.psd', '.dcm', '.svg'))


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


# it can only be read by setting it, which must not happen while threads write files
_UMASK = _umask()


@contextmanager
def part_file(path: PathLike) -> Iterator[Path]:
    """Give a hidden file beside ``path`` that goes when the block ends.

    It has the suffix of ``path``, since many writers choose the format by it. This
    process holds a lock on it while it lives; what killed processes have left of
    ``path`` is known by its lock being free, and removed.

    Args:
        path (str | Path): The file that is to be written; its folder is created.

    Yields:
        Path: Where to write; rename it to keep it.

    Raises:
        UserError: The folder cannot be created or written to.
        OSError: There is no room; see :func:`explain_full_disk`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _remove_abandoned(path)
        handle, name = tempfile.mkstemp(
            prefix=f'.{path.stem}.', suffix=f'.part{path.suffix}', dir=path.parent)
    except (OSError, ValueError) as error:
        if is_full_disk(error):
            raise
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'cannot write {path}: {reason}. Choose a file in a folder you may write '
                        'to.') from error
    temporary = Path(name)
    try:
        _try_lock(handle)
        yield temporary
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path that takes the place of ``path`` on success.

    After an error it is removed and ``path`` is as it was; see :func:`part_file`.

    Args:
        path (str | Path): The file to write.

    Yields:
        Path: Where to write.

    Raises:
        UserError: The folder cannot be created or written to.
        OSError: There is no room; see :func:`explain_full_disk`.
    """
    with part_file(path) as temporary:
        yield temporary
        finish(temporary, path)


def finish(temporary: Path, path: PathLike) -> None:
    """Give a complete file its name."""
    _sync(temporary)
    # mkstemp makes files private; give them what open() would have given
    os.chmod(temporary, 0o666 & ~_UMASK)
    os.replace(temporary, path)


def _try_lock(handle: int) -> bool:
    """Lock an open file if nobody has; False if somebody has, or locks are unknown here."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(path: Path) -> None:
    """Remove the unfinished files that killed writers of ``path`` have left."""
    pattern = f'.{glob.escape(path.stem)}.*part{glob.escape(path.suffix)}'
    for old in path.parent.glob(pattern):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime < _ABANDONED:
                continue
            handle = os.open(old, os.O_RDWR)
            try:
                if _try_lock(handle):
                    old.unlink()
            finally:
                os.close(handle)


def _sync(path: Path) -> None:
    """Force the file's content to the disk; a full disk is noticed here."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: PathLike, data: Union[bytes, memoryview]) -> None:
    """Write ``data`` to ``path`` atomically.

    Everything that other packages encode comes through here: they write into memory,
    because some of them do not notice that a disk is full, and others say it in
    errors of their own.
    """
    with atomic_path(path) as temporary, open(temporary, 'wb') as file:
        file.write(data)


def write_text(path: PathLike, text: str) -> None:
    r"""Write ``text`` to ``path`` atomically, in UTF-8.

    Names of files that are no UTF-8 (halves of characters in Python) are written as
    ``\udc80``, which JSON reads as what it was.
    """
    write_bytes(path, text.encode(errors='backslashreplace'))


def write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def write_image(path: PathLike, image: Any, parameters: Sequence[int] = ()) -> None:
    """Write a picture (H, W, 3) BGR or (H, W) ``uint8`` in the format of the suffix, atomically.

    Args:
        path (str | Path): The file.
        image (ndarray): The picture.
        parameters (Sequence[int]): OpenCV's, such as the JPEG quality.

    Raises:
        UserError: OpenCV does not know the suffix, or the picture is too large for it.
    """
    from mmyolonas.utils.optional import require
    cv2 = require('cv2', 'Writing a picture')
    suffix = Path(path).suffix
    try:
        done, data = cv2.imencode(suffix, image, list(parameters)) if suffix else (False, None)
    except cv2.error:
        done = False
    if not done:
        raise UserError(f'cannot write {path}: OpenCV has no such picture format, or it cannot '
                        'hold the picture; use .png or .jpg.')
    write_bytes(path, data.tobytes())


def write_checkpoint(path: PathLike, content: Any) -> None:
    """Write what :func:`torch.save` makes of ``content``, atomically."""
    import torch
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def write_onnx(path: PathLike, model: Any) -> None:
    """Write an ONNX model (``onnx.ModelProto``) with its weights, atomically."""
    write_bytes(path, model.SerializeToString())


def read_json(path: PathLike, what: str, kind: type = dict, check: Optional[Callable] = None,
              advice: str = 'Remove it, or give another file.') -> Any:
    """Read JSON that this package or a user has written: state, plans, tables.

    Args:
        path (str | Path): The file.
        what (str): What it should be, for messages: 'a plan of tools/quantize.py'.
        kind (type): Type of the whole. Defaults to dict.
        check (Callable, optional): Takes the value and returns what is wanted; what it
            raises of KeyError, TypeError, ValueError, AttributeError or IndexError
            says that the file is not what it should be.
        advice (str): What to do otherwise, a sentence.

    Returns:
        Any: The value, or what ``check`` has made of it.

    Raises:
        UserError: There is no such file, or it is something else.
    """
    try:
        with open(path, 'rb') as file:
            value = json.loads(file.read().decode('utf-8-sig'))
        if not isinstance(value, kind):
            raise TypeError(f'it holds a {type(value).__name__}')
        return value if check is None else check(value)
    except FileNotFoundError:
        raise UserError(f'{path} does not exist; it should be {what}. {advice}') from None
    except UserError:
        raise
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
            RecursionError, MemoryError) as error:
        reason = (str(error).splitlines() or [''])[0][:200]
        reason = f'{type(error).__name__}: {reason}' if isinstance(error, LookupError) else reason
        raise UserError(f'{path} is not {what} ({reason or type(error).__name__}). {advice}') \
            from error


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


def check_room(folder: PathLike, size: int = 1 << 16) -> None:
    """Raise the system's error if there is no room; for writers that do not say why they failed.

    Args:
        folder (str | Path): An existing folder.
        size (int): Bytes that there must be room for. Defaults to 64 KiB.

    Raises:
        OSError: The disk is full.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())


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
