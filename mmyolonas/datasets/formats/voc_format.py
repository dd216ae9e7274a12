"""Reading data sets in Pascal VOC's XML files."""
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_split import SPLITS, CocoSplit
from mmyolonas.datasets.formats.roboflow import FOLDERS
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.files import IMAGE_SUFFIXES
from mmyolonas.utils.images import image_size
from mmyolonas.utils.progress import track


def read_voc(root: Path) -> Dict[str, CocoSplit]:
    """Read ``Annotations/*.xml`` with ``JPEGImages``, or XML files beside images.

    The parts are the lists in ``ImageSets/Main/{train,val,test}.txt``, or the
    folders ``train``, ``valid``, ``test``; else all is 'train'. Corners count
    from 1 and are inclusive, as VOC defines them. Boxes marked difficult are
    kept.

    Args:
        root (Path): Folder of the data set.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test', those that there are.

    Raises:
        DataError: A file is damaged.
    """
    root = Path(root)
    files = _files_of_splits(root)
    parsed = {name: [_read_file(path, root) for path in track(paths, f'reading {name} labels')]
              for name, paths in files.items() if paths}
    names = sorted({label for items in parsed.values() for _, objects in items
                    for label, _ in objects})
    return {name: _to_split(name, root, items, names) for name, items in parsed.items()}


def _files_of_splits(root: Path) -> Dict[str, List[Path]]:
    """Return the XML files of every part."""
    lists = root / 'ImageSets' / 'Main'
    folder = root / 'Annotations'
    if not folder.is_dir():
        files = {name: sorted(path for part in parts for path in (root / part).rglob('*.xml'))
                 for name, parts in FOLDERS.items()}
        return files if any(files.values()) else {'train': sorted(root.rglob('*.xml'))}
    listed = {name: _listed(lists / f'{name}.txt', folder) for name in SPLITS}
    if not listed['train']:
        listed['train'] = _listed(lists / 'trainval.txt', folder)
    return listed if listed['train'] else {'train': sorted(folder.rglob('*.xml'))}


def _listed(path: Path, folder: Path) -> List[Path]:
    if not path.is_file():
        return []
    # lists of one class have 1, 0 or -1 behind each name
    names = [re.sub(r'\s+-?[01]$', '', line.strip())
             for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    return [folder / f'{name}.xml' for name in names]


def _read_file(path: Path, root: Path) -> Tuple[dict, List[Tuple[str, List[float]]]]:
    """Return an image's entry, and name and xywh of each of its objects."""
    try:
        tree = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise DataError(f"'{path}' does not exist but is listed in ImageSets/Main") from None
    except ElementTree.ParseError as error:
        raise DataError(f"'{path}' is not complete XML ({error}): copy or export it again"
                        ) from None
    image = _image_of(path, tree.findtext('filename'), root)
    size = [int(float(tree.findtext(f'size/{key}') or 0)) for key in ('width', 'height')]
    if min(size) < 1:
        size = list(image_size(image) or (1, 1))
    objects = []
    for item in tree.iter('object'):
        try:
            x1, y1, x2, y2 = (float(item.findtext(f'bndbox/{key}'))
                              for key in ('xmin', 'ymin', 'xmax', 'ymax'))
        except (TypeError, ValueError):
            raise DataError(f"'{path}': an object has no bndbox with four numbers") from None
        label = (item.findtext('name') or '').strip()
        if not label:
            raise DataError(f"'{path}': an object has no name")
        objects.append((label, [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]))
    entry = dict(file_name=image.relative_to(root).as_posix(), width=size[0], height=size[1])
    return entry, objects


def _image_of(path: Path, name: Optional[str], root: Path) -> Path:
    """Return the image of an XML file; where it would be if there is none."""
    folders = [path.parent, root / 'JPEGImages', root / 'images']
    names = [Path(name.replace('\\', '/')).name] if name else []
    for folder in folders:
        for candidate in (*names, *(path.stem + suffix for suffix in sorted(IMAGE_SUFFIXES))):
            if (folder / candidate).is_file():
                return folder / candidate
    folder = root / 'JPEGImages'
    return (folder if folder.is_dir() else path.parent) / (names or [f'{path.stem}.jpg'])[0]


def _to_split(name: str, root: Path, items: list, names: List[str]) -> CocoSplit:
    images, annotations = [], []
    ids = {label: index for index, label in enumerate(names, 1)}
    for number, (entry, objects) in enumerate(items, 1):
        images.append(dict(id=number, **entry))
        for label, box in objects:
            annotations.append(dict(
                id=len(annotations) + 1, image_id=number, category_id=ids[label], bbox=box,
                area=box[2] * box[3], iscrowd=0))
    categories = [dict(id=index, name=label) for label, index in ids.items()]
    return CocoSplit(name, root, dict(images=images, annotations=annotations,
                                      categories=categories))
