"""Files below a folder, links to folders followed, each folder once."""
import os
from pathlib import Path
from typing import Collection, Iterator, List, Optional, Set, Tuple

from mmyolonas.datasets.formats.text_files import is_leftover


def walk(folder: Path, depth: Optional[int] = None) -> Iterator[Tuple[Path, List[Path]]]:
    """Yield a folder and those below it, each with its files.

    Data sets are put together of links (``images -> /mnt/disk/images``), which
    ``Path.rglob`` does not follow; a link that leads back is not followed twice, and
    folders themselves come before links to them. What systems and editors leave
    beside files is left out, and so is what may not be read.

    Args:
        folder (Path): Where to begin; a link too.
        depth (int, optional): Folders below this one that are looked into; all without.
    """
    seen: Set[Tuple[int, int]] = set()
    waiting = [(Path(folder), 0)]
    while waiting:
        place, level = waiting.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        seen.add((status.st_dev, status.st_ino))
        files, folders, links = [], [], []
        for entry in entries:
            path = place / entry.name
            try:
                kind = (links if entry.is_symlink() else folders) if entry.is_dir() else None
            except OSError:  # a link to itself
                continue
            if is_leftover(path):
                continue
            if kind is None:
                files.append(path)
            else:
                kind.append((path, level + 1))
        yield place, files
        if depth is None or level < depth:
            # the last one is taken first; links wait until all folders have been seen
            waiting = [*reversed(links), *waiting, *reversed(folders)]


def files_below(folder: Path, suffixes: Optional[Collection[str]] = None,
                depth: Optional[int] = None) -> Iterator[Path]:
    """Yield the files in a folder and those below it; see :func:`walk`.

    Args:
        folder (Path): Where to begin.
        suffixes (Collection[str], optional): In lower case; all files without.
        depth (int, optional): Folders below this one that are looked into; all without.
    """
    for _, files in walk(folder, depth):
        for path in files:
            if suffixes is None or path.suffix.lower() in suffixes:
                yield path
