"""Downloading large files: resumed after any interruption, checked, never half there."""
import shutil
import socket
import ssl
import time
import zipfile
import zlib
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Iterator, Optional
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, atomic_path, explain_full_disk, file_digest, write_text
from mmyolonas.utils.progress import track

_PIECE = 1 << 20
_TIMEOUT = 60
_STATUS = {
    401: 'the key was refused', 403: 'access is denied (a wrong key, or the link has expired)',
    404: 'there is no such file', 429: 'too many requests, try again later'}


class _Broken(Exception):
    """The connection ended before the file did; to be resumed."""


def fetch(url: str, path: PathLike, checksum: Optional[str] = None, attempts: int = 5,
          name: Optional[str] = None, wait: float = 3.) -> Path:
    """Download a file, or what is missing of it.

    What has arrived lies in ``<path>.part`` and is continued by the next
    attempt or call, where the server can do so. A file that is there already is
    checked, not fetched again.

    Args:
        url (str): ``http://``, ``https://`` or ``file://``.
        path (str | Path): Where to.
        checksum (str, optional): ``md5:...`` or ``sha256:...``.
        attempts (int): Tries after broken connections. Defaults to 5.
        name (str, optional): How to call it in messages, instead of the URL
            (which may hold a key).
        wait (float): Seconds before the second try, doubled each time.
            Defaults to 3.

    Raises:
        UserError: It cannot be had, the checksum is wrong, or the disk is full.
    """
    path, name = Path(path), name or url
    if path.is_file():
        _check(path, checksum, f'{path} is damaged or another file')
        print(f'{path}: there already', flush=True)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    for attempt in range(1, attempts + 1):
        try:
            _fetch_rest(url, part, name)
            break
        except _Broken as error:
            if attempt == attempts:
                raise UserError(f'{name}: the connection broke {attempts} times ({error}); what '
                                f'has arrived is in {part}, call again to go on.') from error
            print(f'{name}: {error}; going on in {wait:g} s', flush=True)
            time.sleep(wait)
            wait *= 2
    _check(part, checksum, f'{name} arrived damaged, or was replaced by its owner')
    part.replace(path)
    return path


def _fetch_rest(url: str, part: Path, name: str) -> None:
    """Append to ``part`` what is missing of the file."""
    start = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={'Range': f'bytes={start}-'} if start else {})
    try:
        with urlopen(request, timeout=_TIMEOUT) as response:
            resumed = getattr(response, 'status', None) == 206
            length = response.headers.get('Content-Length')
            length = int(length) if length else None
            start = start if resumed else 0
            advice = f'What has arrived is in {part}; make room and call again.'
            with explain_full_disk(part, advice):
                _check_room(part, length, name)
                with open(part, 'ab' if resumed else 'wb') as file:
                    for piece in track(_pieces(response), f'{name} (MiB)',
                                       -(-length // _PIECE) if length else None):
                        file.write(piece)
    except HTTPError as error:
        if error.code == 416 and start:  # nothing is missing
            return
        reason = _STATUS.get(error.code, error.reason)
        if error.code >= 500:
            raise _Broken(f'the server answered {error.code} {error.reason}') from None
        raise UserError(f'{name}: {reason} (the server answered {error.code}).') from None
    except URLError as error:
        if isinstance(error.reason, (TimeoutError, socket.timeout, ConnectionError)):
            raise _Broken(str(error.reason)) from None
        raise UserError(f'{name} cannot be reached ({error.reason}): check the address and the '
                        'network.') from None
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Broken(str(error) or type(error).__name__) from None
    if length is not None and part.stat().st_size < start + length:
        raise _Broken(f'the connection ended after {part.stat().st_size} bytes')


def _pieces(response) -> Iterator[bytes]:
    """Yield a response in pieces; what came before the connection broke is kept."""
    while True:
        try:
            piece = response.read(_PIECE)
        except IncompleteRead as error:
            yield error.partial
            raise
        if not piece:
            return
        yield piece


def _check_room(part: Path, length: Optional[int], name: str) -> None:
    free = shutil.disk_usage(part.parent).free
    if length is not None and length > free:
        raise UserError(f'{name} needs {length / 1e9:.2f} GB more, but {part.parent} has '
                        f'{free / 1e9:.2f} GB free: make room or choose another folder.')


def _check(path: Path, checksum: Optional[str], problem: str) -> None:
    """Remove a file with the wrong checksum and say so."""
    if checksum is None:
        return
    algorithm, _, wanted = checksum.partition(':')
    found = file_digest(path, algorithm)
    if found != wanted:
        path.unlink()
        raise UserError(f'{problem}: its {algorithm} is {found}, expected {wanted}. It was '
                        'removed; call again to download it anew.')


def unpack(archive: PathLike, folder: PathLike) -> int:
    """Unpack a zip file, or what is missing of it; each file appears complete or not at all.

    Args:
        archive (str | Path): The zip file.
        folder (str | Path): Where to; a note that it is done is left there.

    Returns:
        int: Number of files in the archive.

    Raises:
        UserError: The archive is damaged, or the disk is full.
    """
    archive, folder = Path(archive), Path(folder)
    advice = 'What is unpacked is kept; make room and call again.'
    with explain_full_disk(folder, advice):
        try:
            with zipfile.ZipFile(archive) as source:
                members = [item for item in source.infolist() if not item.is_dir()]
                for item in track(members, f'unpacking {archive.name}'):
                    target = _inside(folder, item.filename, archive)
                    if target.is_file() and target.stat().st_size == item.file_size:
                        continue
                    with (atomic_path(target) as temporary, source.open(item) as stream,
                          open(temporary, 'wb') as file):
                        shutil.copyfileobj(stream, file, _PIECE)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f'{archive} is not a complete zip file ({error}): remove it and '
                            'call again.') from error
        write_text(unpacked_note(archive.name, folder), f'{len(members)} files\n')
    return len(members)


def unpacked_note(archive_name: str, folder: PathLike) -> Path:
    """Return the file whose existence says that an archive was unpacked into a folder."""
    return Path(folder) / f'.{archive_name}.unpacked'


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Return where a member goes; never outside of the folder."""
    target = (folder / name).resolve()
    if folder.resolve() not in target.parents:
        raise UserError(f'{archive} holds {name!r}, which would be written outside of {folder}: '
                        'not unpacked.')
    return target
