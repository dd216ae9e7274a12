"""YOLO text files without a data.yaml: exports of CVAT, Label Studio and Darknet."""
import re
from pathlib import Path
from typing import Dict, List, Optional

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.split_names import split_of
from mmyolonas.datasets.formats.text_files import is_leftover, read_text
from mmyolonas.datasets.formats.yolo_format import (
    images_below,
    label_of,
    listed_in,
    read_image_lists,
)
from mmyolonas.datasets.formats.yolo_names import read_names
from mmyolonas.utils.data_error import DataError

_NAMES = ('classes.txt', 'obj.names', 'labels.txt', '_darknet.labels', 'names.txt', 'class.names')
_LISTS = {'train': ('train', ), 'val': ('val', 'valid', 'validation'), 'test': ('test', )}


def find_darknet(data: Path) -> Optional[Path]:
    """Return the file with the class names, if label files lie beside or below it."""
    if not data.is_dir():
        return None
    candidates = [path for name in _NAMES for path in (data / name, *data.glob(f'*/{name}'))]
    candidates += sorted(data.glob('*.names'))
    return next((path for path in candidates if path.is_file() and not is_leftover(path)), None)


def has_labels_without_names(data: Path) -> bool:
    """Whether there are YOLO's text files but nothing that names their classes."""
    if not data.is_dir():
        return False
    for number, image in enumerate(images_below(data)):
        label = label_of(image)
        if label.is_file() and re.match(r'\s*\d+(\s+[\d.eE+-]+){4,}\s*$',
                                        read_text(label).split('\n', 1)[0]):
            return True
        if number > 100:
            break
    return False


def read_darknet(names: Path, data: Path, notes: List[str],
                 poses: bool = False) -> Dict[str, CocoSplit]:
    """Read images with text files beside them or in ``labels``.

    The parts are the lists that ``obj.data`` or ``train.txt`` and ``valid.txt`` hold,
    else what the folders' names say.

    Args:
        names (Path): File with a class name a line.
        data (Path): Folder of the data set.
        notes (list[str]): Gets sentences on what was decided.
        poses (bool): Whether key points are kept. Defaults to False.

    Raises:
        DataError, UserError: A list or a line of a file is wrong.
    """
    images: Dict[str, List[Path]] = {}
    for part, words in _LISTS.items():
        for word in words:
            for folder in dict.fromkeys((names.parent, data)):
                path = folder / f'{word}.txt'
                if path.is_file() and part not in images:
                    images[part] = listed_in(path, names)
    if not images:
        for path in images_below(data):
            images.setdefault(split_of(path, data) or 'train', []).append(path)
    if not images:
        raise DataError(f"'{names}' names classes, but there are no images below '{data}'")
    images = {part: [path.absolute() for path in paths] for part, paths in images.items()}
    if not any(label_of(path).is_file() for paths in images.values() for path in paths):
        raise DataError(f"'{names}' names classes, but no image below '{data}' has a text file "
                        'with labels beside it or in labels/')
    return read_image_lists(images, read_names(names), {}, names, notes, poses)
