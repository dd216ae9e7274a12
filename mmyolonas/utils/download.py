"""Downloading large files: resumed after any interruption, checked, never half there."""
import lzma
import re
import shutil
import socket
import ssl
import struct
import time
import zipfile
import zlib
from http.client import HTTPException, IncompleteRead, InvalidURL
from pathlib import Path
from typing import Dict, Iterator, Optional
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import (
    PathLike,
    atomic_path,
    explain_full_disk,
    file_digest,
    is_full_disk,
    write_text,
)
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
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ''
    if scheme not in ('http', 'https', 'file'):
        raise UserError(f'{name} is no address of a file: it must begin with http://, https:// or '
                        'file://.')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}. Choose a folder you may write '
                        'to.') from error
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
            resumed = _continues(response, start)
            length = _length(response)
            start = start if resumed else 0
            advice = f'What has arrived is in {part}; make room and call again.'
            with explain_full_disk(part, advice):
                _check_room(part, length, name)
                with open(part, 'ab' if resumed else 'wb') as file:
                    for piece in track(_pieces(response), f'{name} (MiB)',
                                       -(-length // _PIECE) if length else None):
                        file.write(piece)
    except HTTPError as error:
        if error.code == 416 and start:
            whole = re.fullmatch(r'bytes \*/(\d+)', error.headers.get('Content-Range') or '')
            if whole is None or int(whole[1]) == start:
                return  # nothing is missing
            part.unlink()
            raise _Broken('what was there is of another file') from None
        reason = _STATUS.get(error.code, error.reason)
        if error.code >= 500:
            raise _Broken(f'the server answered {error.code} {error.reason}') from None
        raise UserError(f'{name}: {reason} (the server answered {error.code}).') from None
    except URLError as error:
        if isinstance(error.reason, (TimeoutError, socket.timeout, ConnectionError)):
            raise _Broken(str(error.reason)) from None
        raise UserError(f'{name} cannot be reached ({error.reason}): check the address and the '
                        'network.') from None
    except (InvalidURL, ValueError) as error:
        raise UserError(f'{name} is no address of a file ({error}).') from None
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Broken(str(error) or type(error).__name__) from None
    if length is not None and part.stat().st_size < start + length:
        raise _Broken(f'the connection ended after {part.stat().st_size} bytes')


def _continues(response, start: int) -> bool:
    """Whether a response begins where the file that is there ends.

    Raises:
        _Broken: It is a part, but another one than was asked for.
    """
    if getattr(response, 'status', None) != 206:
        return False
    place = re.match(r'bytes (\d+)-', response.headers.get('Content-Range') or '')
    if place is not None and int(place[1]) != start:
        raise _Broken(f'the server sent the file from byte {place[1]}, not from {start}')
    return True


def _length(response) -> Optional[int]:
    """Return how many bytes come, if the server says so."""
    text = response.headers.get('Content-Length') or ''
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


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
    if algorithm not in ('md5', 'sha1', 'sha256', 'sha512'):
        raise UserError(f'{checksum[:60]!r} is no checksum: it must be md5: or sha256: and digits.')
    found = file_digest(path, algorithm)
    wanted = wanted.strip().lower()
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
        UserError: The archive is damaged, encrypted, or larger than the disk, or two
            of its files have one place; nothing was written in the last three cases.
    """
    archive, folder = Path(archive), Path(folder)
    advice = 'What is unpacked is kept; make room and call again.'
    with explain_full_disk(folder, advice):
        try:
            with zipfile.ZipFile(archive) as source:
                members = _members(source, folder, archive)
                for target, item in track(list(members.items()), f'unpacking {archive.name}'):
                    if not _is_there(target, item):
                        with (atomic_path(target) as temporary, source.open(item) as stream,
                              open(temporary, 'wb') as file):
                            shutil.copyfileobj(stream, file, _PIECE)
        except UserError:
            raise
        except _ZIP_ERRORS as error:
            if is_full_disk(error):
                raise
            raise UserError(f'{archive} {_what_is_wrong(archive, error)}') from error
        write_text(unpacked_note(archive.name, folder), f'{len(members)} files\n')
    return len(members)


#: What the standard library raises for archives that are damaged in some way.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
               NotImplementedError, struct.error, ValueError, IndexError, MemoryError)


def _what_is_wrong(archive: Path, error: Exception) -> str:
    try:
        with open(archive, 'rb') as file:
            head = file.read(64).lstrip()
    except OSError as reason:
        return f'cannot be read: {reason.strerror}.'
    if not head:
        return 'is empty: remove it and call again.'
    if head.startswith((b'<', b'{')):
        return ('is no zip file but a web page or a message of the server: look into it, remove '
                'it, check the address (and whether one has to log in there) and call again.')
    if isinstance(error, NotImplementedError):
        return f'uses a compression that is not known here ({error}): unpack it by hand.'
    reason = str(error) or type(error).__name__
    return f'is not a complete zip file ({reason}): remove it and call again.'


def _members(source: zipfile.ZipFile, folder: Path, archive: Path
             ) -> Dict[Path, zipfile.ZipInfo]:
    """Return the files of an archive by their places, all sound to be written."""
    members: Dict[Path, zipfile.ZipInfo] = {}
    places: Dict[str, zipfile.ZipInfo] = {}
    for item in source.infolist():
        if item.is_dir():
            continue
        if item.flag_bits & 0x1:
            raise UserError(f'{archive} is encrypted: unpack it by hand with its password, into '
                            f'{folder}.')
        # archives made on Windows may have its separators
        target = _inside(folder, item.filename.replace('\\', '/'), archive)
        other = places.setdefault(str(target).lower(), item)
        if other is not item and (other.CRC, other.file_size) != (item.CRC, item.file_size):
            raise UserError(f'{archive} holds {item.filename!r} and {other.filename!r}, which have '
                            'one place but differ: not unpacked; get the archive anew or unpack it '
                            'by hand.')
        if other is item:
            members[target] = item
    _check_places(members, folder, archive)
    missing = sum(item.file_size for target, item in members.items() if not target.exists())
    free = shutil.disk_usage(_existing(folder)).free
    if missing > free:
        raise UserError(f'{archive} holds {missing / 1e9:.2f} GB, but {folder} has '
                        f'{free / 1e9:.2f} GB free: make room or choose another folder.')
    return members


def _check_places(members: Dict[Path, zipfile.ZipInfo], folder: Path, archive: Path) -> None:
    """Raise if a file would stand where a folder has to be, or the other way."""
    known = {str(target).lower() for target in members}
    for target in members:
        above = [str(parent).lower() for parent in target.parents]
        if known.intersection(above):
            raise UserError(f'{archive} holds {members[target].filename!r} and a file that has the '
                            'name of its folder: not unpacked.')
        if target.is_dir() or any(parent.is_file() for parent in target.parents):
            raise UserError(f'{archive} holds {members[target].filename!r}, but in {folder} a '
                            'folder or a file is in its way: move it, or unpack into another '
                            'folder.')


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _is_there(target: Path, item: zipfile.ZipInfo) -> bool:
    """Whether a file has been unpacked before: size and checksum are the member's."""
    if not target.is_file() or target.stat().st_size != item.file_size:
        return False
    found = 0
    with open(target, 'rb') as file:
        while piece := file.read(_PIECE):
            found = zlib.crc32(piece, found)
    return found == item.CRC


def unpacked_note(archive_name: str, folder: PathLike) -> Path:
    """Return the file whose existence says that an archive was unpacked into a folder."""
    return Path(folder) / f'.{archive_name}.unpacked'


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Return where a member goes; never outside of the folder."""
    try:
        target = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f'{archive} holds a name that no file can have ({name[:60]!r}: {error}): '
                        'not unpacked.') from None
    if folder.resolve() not in target.parents:
        raise UserError(f'{archive} holds {name!r}, which would be written outside of {folder}: '
                        'not unpacked.')
    return target
