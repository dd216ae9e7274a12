"""Finding out how a folder of images and labels is laid out, and reading it."""
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_split import SPLITS, CocoSplit
from mmyolonas.datasets.formats.roboflow import is_roboflow, read_roboflow
from mmyolonas.datasets.formats.voc_format import read_voc
from mmyolonas.datasets.formats.yolo_format import read_yolo
from mmyolonas.utils.data_error import DataError

FORMATS = ('coco', 'yolo', 'voc')
_WORDS = {'train': 'train', 'training': 'train', 'trainval': 'train', 'val': 'val',
          'valid': 'val', 'validation': 'val', 'dev': 'val', 'test': 'test', 'testing': 'test'}
_OTHER_TASKS = ('captions', 'keypoints', 'panoptic', 'stuff')
_SAMPLE = 20  # images looked for when searching for their folder
_MAX_FOLDERS = 2000


@dataclass
class DataLayout:
    """A data set as it was found.

    Attributes:
        root (Path): Its folder.
        format (str): 'coco', 'yolo' or 'voc'.
        splits (dict[str, CocoSplit]): By 'train', 'val', 'test', at least 'train'.
        notes (list[str]): What was left out, in sentences.
    """
    root: Path
    format: str
    splits: Dict[str, CocoSplit]
    notes: List[str] = field(default_factory=list)


def read_layout(data: Path, format: str = 'auto') -> DataLayout:
    """Read a data set of any of the known layouts.

    Args:
        data (Path): Its folder, or its ``data.yaml`` or COCO JSON file.
        format (str): 'coco', 'yolo', 'voc', or 'auto' to find out.

    Returns:
        DataLayout: Parts with their images and boxes, unchecked.

    Raises:
        DataError: There is nothing in a known layout, no training part, or a
            file is damaged.
    """
    data = Path(data)
    if not data.exists():
        raise DataError(f"'{data}' does not exist (seen from '{Path.cwd()}')")
    root = data if data.is_dir() else data.parent
    if data.suffix == '.json' and root.name == 'annotations':
        root = root.parent
    notes: List[str] = []
    readers: Dict[str, Tuple[Callable, Callable]] = {
        'coco': (lambda: _find_coco(data, notes), lambda found: _read_coco(root, found)),
        'yolo': (lambda: _find_yolo(data), read_yolo),
        'voc': (lambda: _find_voc(data), read_voc),
    }
    for name in FORMATS if format == 'auto' else (format, ):
        find, read = readers[name]
        found = find()
        if found:
            splits = {split: value for split, value in read(found).items()
                      if value.data['images']}
            if 'train' not in splits:
                raise DataError(f"'{data}' has no images to train on, only a "
                                f'{" and a ".join(splits) or "description"} split: expected a '
                                "folder or file with 'train' in its name")
            order = {key: splits[key] for key in SPLITS if key in splits}
            return DataLayout(root, name, order, notes)
    raise DataError(_unknown(data, format))


def _unknown(data: Path, format: str) -> str:
    expected = {
        'coco': "COCO JSON files ('train/_annotations.coco.json' beside the images, or "
                "'annotations/instances_train.json')",
        'yolo': "a 'data.yaml' with names, train and val (YOLO text files)",
        'voc': "'Annotations/*.xml' with 'JPEGImages' (Pascal VOC)",
    }
    if format != 'auto':
        return f"'{data}' is not a data set in the format {format!r}: expected {expected[format]}"
    return (f"'{data}' holds no labels in a layout known here: expected "
            f'{", or ".join(expected.values())}')


def _find_yolo(data: Path) -> Optional[Path]:
    """Return the YAML file that describes the data set."""
    if data.is_file():
        return data if data.suffix in ('.yaml', '.yml') else None
    files = sorted(path for path in (*data.glob('*.yaml'), *data.glob('*.yml'))
                   if re.search(r'(?m)^names\s*:', path.read_text(errors='replace')))
    preferred = [path for path in files if path.stem == 'data']
    return (preferred or files or [None])[0]


def _find_voc(data: Path) -> Optional[Path]:
    """Return the folder if there is an XML file that describes an image in it."""
    if not data.is_dir():
        return None
    for path in data.rglob('*.xml'):
        return data if '<annotation' in path.read_text(errors='replace')[:2000] else None
    return None


def _find_coco(data: Path, notes: List[str]) -> Optional[Dict[str, Path]]:
    """Return the annotation file of each part."""
    if data.is_file():
        return {'train': data} if data.suffix == '.json' else None
    if is_roboflow(data):
        return {'roboflow': data}
    by_split: Dict[Optional[str], List[Path]] = defaultdict(list)
    for pattern in ('*.json', '*/*.json', '*/*/*.json'):
        for path in sorted(data.glob(pattern)):
            if _is_coco(path):
                by_split[_split_of(path, data)].append(path)
    if not by_split:
        return None
    unnamed = by_split.pop(None, [])
    if not by_split:
        by_split['train'] = unnamed
    elif unnamed:
        notes.append(f'left out, since the names do not say which part they are: '
                     f'{", ".join(str(path) for path in unnamed)}')
    return {split: _only(paths, split) for split, paths in by_split.items()}


def _is_coco(path: Path) -> bool:
    """Whether a file is a list of annotated images; that it is complete is checked later."""
    with open(path, 'rb') as file:
        text = file.read()
    return b'"images"' in text and b'"annotations"' in text


def _split_of(path: Path, root: Path) -> Optional[str]:
    """Return the part that a file's name, or else its folders' names, speak of."""
    for name in (path.stem, *reversed(path.relative_to(root).parts[:-1])):
        for word in re.findall(r'[a-z]+', name.lower()):
            if word in _WORDS:
                return _WORDS[word]
    return None


def _only(paths: List[Path], split: str) -> Path:
    """Return the file with boxes among those of one part."""
    boxes = [path for path in paths if not any(word in path.stem for word in _OTHER_TASKS)]
    if len(boxes or paths) > 1:
        raise DataError(f'there are {len(boxes)} annotation files for the {split} split: '
                        f'{", ".join(str(path) for path in boxes)}; keep one, or give its path')
    return (boxes or paths)[0]


def _read_coco(root: Path, files: Dict[str, Path]) -> Dict[str, CocoSplit]:
    if 'roboflow' in files:
        return read_roboflow(root, needed=())
    splits = {name: CocoSplit.read(name, path, root) for name, path in files.items()}
    folders: Optional[List[Path]] = None
    for split in splits.values():
        for folder in (split.ann_file.parent, root):
            if _hits(split, folder) == 1:
                split.images = folder
                break
        else:
            folders = folders or _folders(root)
            split.images = _image_folder(split, folders)
    return splits


def _hits(split: CocoSplit, folder: Path) -> float:
    """Return which part of (a few of) the split's images lies in a folder, 0..1."""
    images = split.data['images']
    chosen = images[::max(1, len(images) // _SAMPLE)]
    return sum((folder / image['file_name']).is_file() for image in chosen) / len(chosen)


def _folders(root: Path) -> List[Path]:
    """Return the folders below a folder, the shallow ones first."""
    found, level = [root], [root]
    while level and len(found) < _MAX_FOLDERS:
        level = [path for folder in level for path in sorted(folder.iterdir())
                 if path.is_dir() and not path.name.startswith('.')]
        found += level
    return found[:_MAX_FOLDERS]


def _image_folder(split: CocoSplit, folders: List[Path]) -> Path:
    """Return the folder with the most of a split's images, named like it if several have them.

    Raises:
        DataError: No folder has any.
    """
    def rank(folder: Path) -> Tuple[float, bool]:
        named = any(_WORDS.get(word) == split.name
                    for word in re.findall(r'[a-z]+', folder.name.lower()))
        return _hits(split, folder), named

    best = max(folders, key=rank)
    if not _hits(split, best):
        raise DataError(
            f"none of the images that '{split.ann_file}' lists was found below '{folders[0]}' "
            f"(the first is '{split.data['images'][0]['file_name']}'): put the images there")
    return best
