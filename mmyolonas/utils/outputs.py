"""Looks whether results can be written where they are wanted, before the work."""
import errno
import os
import tempfile
from pathlib import Path
from typing import Dict, Optional, Sequence

from mmyolonas.utils.errors import FullDiskError, UserError
from mmyolonas.utils.files import PathLike, is_full_disk


def check_folder(path: PathLike, option: str = '--work-dir') -> None:
    """Raise unless files can be written to a folder, which need not exist yet.

    Args:
        path (str | Path): The folder; nothing is left in it.
        option (str): Where it was given, for the message.

    Raises:
        UserError: It is a file, has an impossible name, lies in a place where nothing may
            be written, or the disk is full.
    """
    try:
        place = Path(path).absolute()
        if os.path.lexists(place) and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, 'it is a file')
        while not os.path.lexists(place):
            if '\0' in place.name:
                raise ValueError('a name cannot hold a zero byte')
            if len(os.fsencode(place.name)) > 255:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        kind = FullDiskError if is_full_disk(error) else UserError
        raise kind(f'{option} {path} cannot be written to: {reason}. Give another place.') \
            from error


def check_file(path: Optional[PathLike], option: str = '--out',
               suffixes: Sequence[str] = ()) -> None:
    """Raise unless a file can be written; see :func:`check_folder`.

    Args:
        path (str | Path, optional): The file; None is fine.
        option (str): Where it was given, for the message.
        suffixes (Sequence[str]): What it may end with, in lower case; empty for anything.
    """
    if path is None:
        return
    name = Path(path).name
    if suffixes and Path(path).suffix.lower() not in suffixes:
        raise UserError(f'{option} must end in {" or ".join(suffixes)}, got {path}.')
    if not name or os.path.isdir(path):
        raise UserError(f'{option} {path} cannot be written: it is a folder. Give a file name.')
    # the hidden file that is written first has a longer name
    if len(os.fsencode(name)) > 230:
        raise UserError(f'{option} {path} cannot be written: its name is too long.')
    check_folder(Path(path).parent, option)


def check_distinct(outputs: Dict[str, Optional[PathLike]],
                   inputs: Optional[Dict[str, Optional[PathLike]]] = None) -> None:
    """Raise if one path is given for two outputs, or for an input and an output.

    Args:
        outputs (dict): Paths by option; None where it was not given.
        inputs (dict, optional): Files that are read, alike.

    Raises:
        UserError: It is; one would overwrite the other.
    """
    seen: Dict[str, str] = {}
    for group in (inputs or {}, outputs):
        for option, path in group.items():
            if path is None:
                continue
            real = os.path.realpath(path)
            if real in seen and group is outputs:
                raise UserError(f'{seen[real]} and {option} are the same file, {path}: one would '
                                'overwrite the other. Give another name.')
            seen[real] = option
