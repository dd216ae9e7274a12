"""Finding out how a folder of images and labels is laid out, and reading it."""
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_split import SPLITS, CocoSplit
from mmyolonas.datasets.formats.darknet_layout import (
    find_darknet,
    has_labels_without_names,
    read_darknet,
)
from mmyolonas.datasets.formats.labelled_images import ImageIndex
from mmyolonas.datasets.formats.roboflow import is_roboflow, read_roboflow
from mmyolonas.datasets.formats.split_names import WORDS, split_of
from mmyolonas.datasets.formats.text_files import is_leftover, read_text
from mmyolonas.datasets.formats.tool_exports import READERS, find_tool_export, read_tool_export
from mmyolonas.datasets.formats.unread_formats import known_elsewhere
from mmyolonas.datasets.formats.unused_files import unused_files
from mmyolonas.datasets.formats.voc_format import find_voc, read_voc
from mmyolonas.datasets.formats.walking import files_below, walk
from mmyolonas.datasets.formats.yolo_format import read_yolo
from mmyolonas.utils.data_error import DataError

FORMATS = ('coco', 'yolo', 'voc', *READERS)
_YAML = ('.yaml', '.yml')
_OTHER_TASKS = ('captions', 'keypoints', 'panoptic', 'stuff')
_SAMPLE = 20  # images looked for when searching for their folder
_MAX_FOLDERS = 2000


@dataclass
class DataLayout:
    """A data set as it was found.

    Attributes:
        root (Path): Its folder.
        format (str): One of ``FORMATS``.
        splits (dict[str, CocoSplit]): By 'train', 'val', 'test', at least 'train'.
        notes (list[str]): What was left out, in sentences.
    """
    root: Path
    format: str
    splits: Dict[str, CocoSplit]
    notes: List[str] = field(default_factory=list)


def read_layout(data: Path, format: str = 'auto', poses: bool = False) -> DataLayout:
    """Read a data set of any of the known layouts.

    Args:
        data (Path): Its folder, or its ``data.yaml`` or COCO JSON file.
        format (str): One of ``FORMATS``, or 'auto' to find out.
        poses (bool): Whether key points are wanted: of several COCO files those with them are
            read, and YOLO's lines keep theirs. Defaults to False.

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
        'coco': (lambda: _find_coco(data, notes, poses),
                 lambda found: _read_coco(root, found, notes)),
        'yolo': (lambda: _find_yolo(data) or find_darknet(data), lambda found: (
            read_yolo(found, notes, poses) if found.suffix in _YAML
            else read_darknet(found, data, notes, poses))),
        'voc': (lambda: find_voc(data), lambda found: read_voc(found, notes)),
        'tool': (lambda: find_tool_export(data), lambda found: read_tool_export(found, notes)),
    }
    for name in readers if format == 'auto' else ('tool' if format in READERS else format, ):
        find, read = readers[name]
        found = find()
        if found and name == 'tool':
            name = found[0]
        if found and format in ('auto', name):
            splits = {split: value for split, value in read(found).items()
                      if value.data['images']}
            if 'train' not in splits:
                raise DataError(f"'{data}' has no images to train on, only a "
                                f'{" and a ".join(splits) or "description"} split: expected a '
                                "folder or file with 'train' in its name")
            order = {key: splits[key] for key in SPLITS if key in splits}
            notes += unused_files(root, name, order)
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
        return (f"'{data}' is not a data set in the format {format!r}: expected "
                f'{expected.get(format, "an export in it, with the images")}')
    start = f"'{data}' holds no labels in a layout known here"
    if has_labels_without_names(data):
        return (f"{start}: there are YOLO text files, but nothing names their classes: add a "
                "'classes.txt' with a name a line, or a 'data.yaml'")
    other = known_elsewhere(data)
    if other:
        return f'{start}: this is {other}'
    return (f'{start}: expected {", or ".join(expected.values())}; exports of CVAT, LabelMe, Label '
            'Studio, VIA and CreateML and tables (CSV) are read too')


def _find_yolo(data: Path) -> Optional[Path]:
    """Return the YAML file that describes the data set."""
    if data.is_file():
        return data if data.suffix in _YAML else None
    files = sorted(path for path in (*data.glob('*.yaml'), *data.glob('*.yml'),
                                     *data.glob('*/data.yaml'))
                   if path.is_file() and not is_leftover(path)
                   and re.search(r'(?m)^["\']?names["\']?\s*:', read_text(path)))
    preferred = [path for path in files if path.stem == 'data']
    return (preferred or files or [None])[0]


def _find_coco(data: Path, notes: List[str], poses: bool) -> Optional[Dict[str, Path]]:
    """Return the annotation file of each part."""
    if data.is_file():
        return {'train': data} if data.suffix == '.json' and not find_tool_export(data) else None
    if is_roboflow(data):
        return {'roboflow': data}
    by_split: Dict[Optional[str], List[Path]] = defaultdict(list)
    for path in files_below(data, ('.json', ), depth=2):
        if _is_coco(path):
            by_split[split_of(path, data)].append(path)
    if not by_split:
        return None
    unnamed = by_split.pop(None, [])
    if not by_split:
        by_split['train'] = unnamed
    elif unnamed:
        notes.append(f'left out, since the names do not say which part they are: '
                     f'{", ".join(str(path) for path in unnamed)}')
    return {split: _only(paths, split, poses) for split, paths in by_split.items()}


def _is_coco(path: Path) -> bool:
    """Whether a file is a list of annotated images; that it is complete is checked later."""
    try:
        with open(path, 'rb') as file:
            text = file.read()
    except OSError:
        return False
    if text[:4].count(b'\0'):
        text = text.replace(b'\0', b'')  # UTF-16
    return b'"images"' in text and b'"annotations"' in text


def _only(paths: List[Path], split: str, poses: bool) -> Path:
    """Return the file with boxes (with key points) among those of one part."""
    boxes = [path for path in paths if not any(word in path.stem for word in _OTHER_TASKS)]
    if poses:
        boxes = [path for path in paths if 'keypoints' in path.stem] or boxes
    if len(boxes or paths) > 1:
        raise DataError(f'there are {len(boxes)} annotation files for the {split} split: '
                        f'{", ".join(str(path) for path in boxes)}; keep one, or give its path')
    return (boxes or paths)[0]


def _read_coco(root: Path, files: Dict[str, Path], notes: List[str]) -> Dict[str, CocoSplit]:
    if 'roboflow' in files:
        splits = read_roboflow(root, needed=())
        for split in splits.values():
            if _hits(split, split.images) < 1:
                relocate(split, root, notes)
        return splits
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
            if _hits(split, split.images) < 1:
                relocate(split, root, notes)
            if not _hits(split, split.images):
                raise DataError(
                    f"none of the images that '{split.ann_file or files[split.name]}' lists was "
                    f"found below '{root}' (the first is "
                    f"'{split.data['images'][0]['file_name']}'): put the images there")
    return splits


def relocate(split: CocoSplit, root: Path, notes: List[str]) -> None:
    """Find images whose file names are paths of another machine or system, in place.

    Args:
        split (CocoSplit): Its file names become relative to ``root`` if any is found.
        root (Path): Folder that they are looked for in.
        notes (list[str]): Gets a sentence if any was found.
    """
    index, found = ImageIndex(root), {}
    near = split.ann_file or split.images / 'x'
    missing = [number for number, path in enumerate(split.paths) if not path.is_file()]
    for number in missing:
        name = split.data['images'][number]['file_name']
        # a bare name is looked for elsewhere only if no image is where it should be
        if '/' in name or '\\' in name or len(missing) == len(split.paths):
            place = index.by_name(name, near)
            if place is not None and split_of(place, root) in (None, split.name):
                found[number] = place
    if not found or len(set(found.values())) < len(found):
        return  # two entries would share an image: the names say too little
    images = []
    for number, image in enumerate(split.data['images']):
        place = found.get(number, split.images / image['file_name'])
        name = place.relative_to(root).as_posix() if place.is_relative_to(root) else str(place)
        images.append(dict(image, file_name=name))
    notes.append(f'{len(found)} file names of {split.name} are paths of another machine or folder; '
                 f"the images were found by name (the first: '{found[min(found)]}')")
    split.data, split.images, split.ann_file = {**split.data, 'images': images}, root, None


def _hits(split: CocoSplit, folder: Path) -> float:
    """Return which part of (a few of) the split's images lies in a folder, 0..1."""
    images = split.data['images']
    chosen = images[::max(1, len(images) // _SAMPLE)]
    return sum((folder / image['file_name']).is_file() for image in chosen) / len(chosen)


def _folders(root: Path) -> List[Path]:
    """Return the folders below a folder, the shallow ones first."""
    found = [folder for folder, _ in islice(walk(root), _MAX_FOLDERS)
             if not folder.name.startswith('.') or folder == root]
    return sorted(found, key=lambda folder: len(folder.parts))


def _image_folder(split: CocoSplit, folders: List[Path]) -> Path:
    """Return the folder with the most of a split's images, named like it if several have them."""
    def rank(folder: Path) -> Tuple[float, bool]:
        named = any(WORDS.get(word) == split.name
                    for word in re.findall(r'[a-z]+', folder.name.lower()))
        return _hits(split, folder), named

    return max(folders, key=rank)
