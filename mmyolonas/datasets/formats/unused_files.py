"""Images and label files that are in a folder but in no part of the data set."""
from pathlib import Path
from typing import Dict, Iterator, List, Set

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.walking import walk
from mmyolonas.datasets.formats.yolo_format import label_of
from mmyolonas.utils.files import IMAGE_SUFFIXES, OTHER_PICTURES

_MAX_FILES = 200_000


def unused_files(root: Path, format: str, splits: Dict[str, CocoSplit]) -> Iterator[str]:
    """Yield sentences on what nobody will see, since it is in no part.

    Args:
        root (Path): Folder of the data set.
        format (str): One of ``layouts.FORMATS``.
        splits (dict[str, CocoSplit]): The parts.
    """
    used = {path for split in splits.values() for path in split.paths}
    folders = {path.parent for path in used}
    images: List[Path] = []
    foreign: List[Path] = []
    count = 0
    for _, files in walk(root):
        count += len(files)
        if count > _MAX_FILES:
            break
        suffixes = [(path, path.suffix.lower()) for path in files]
        foreign += [path for path, suffix in suffixes if suffix in OTHER_PICTURES
                    and path not in used]
        images += [path for path, suffix in suffixes if suffix in IMAGE_SUFFIXES
                   and path not in used]
    if foreign:
        yield (f'{len(foreign)} pictures are of formats that are not read and were left out (the '
               f"first: '{foreign[0]}'): convert them to JPEG or PNG, with their labels' names")
    images = [path for path in images if path.parent in folders]
    if images:
        real = {path.resolve() for path in used}
        images = [path for path in images if path.resolve() not in real]
    if images:
        yield (f'{len(images)} images beside those of the data set are in no part of it, since no '
               f"label file or list names them (the first: '{images[0]}')")
    if format == 'yolo':
        yield from _unused_labels(used)


def _unused_labels(images: Set[Path]) -> Iterator[str]:
    """Yield a sentence on YOLO text files without an image."""
    names = {'classes.txt', 'labels.txt', 'names.txt', 'train.txt', 'val.txt', 'valid.txt',
             'test.txt'}
    labels = {label_of(path) for path in images}
    found = [path for folder in sorted({path.parent for path in labels})
             if folder.is_dir() for path in sorted(folder.iterdir())
             if path.suffix.lower() == '.txt' and path.name.lower() not in names
             and not path.name.lower().startswith(('readme', '_')) and path not in labels]
    if found:
        yield (f'{len(found)} text files with labels belong to no image and were left out (the '
               f"first: '{found[0]}'): is an image missing, or called otherwise?")
