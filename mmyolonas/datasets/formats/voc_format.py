"""Reading data sets in Pascal VOC's XML files."""
import re
import xml.etree.ElementTree as ElementTree
from itertools import islice
from pathlib import Path
from typing import Dict, List, Optional

from mmyolonas.datasets.formats.coco_split import SPLITS, CocoSplit
from mmyolonas.datasets.formats.coco_values import is_number, number_of
from mmyolonas.datasets.formats.labelled_images import ImageIndex, LabelledImage, to_splits
from mmyolonas.datasets.formats.roboflow import FOLDERS
from mmyolonas.datasets.formats.text_files import read_text
from mmyolonas.datasets.formats.walking import files_below
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.progress import track


def read_voc(root: Path, notes: Optional[List[str]] = None) -> Dict[str, CocoSplit]:
    """Read XML files that describe an image each, in ``Annotations`` or elsewhere.

    The parts are the lists in ``ImageSets/Main/{train,val,test}.txt``, or the
    folders ``train``, ``valid``, ``test``; else all is 'train'. Corners count
    from 1 and are inclusive, as VOC defines them. Boxes marked difficult are
    kept. The image of ``a.xml`` is the ``a.jpg`` closest to it, and only where
    there is none the one that ``<filename>`` names, which renaming leaves behind.

    Args:
        root (Path): Folder of the data set.
        notes (list[str], optional): Gets a sentence on what was decided.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test', those that there are.

    Raises:
        DataError: A file is damaged.
    """
    root = Path(root)
    images = ImageIndex(root)
    other: List[str] = []
    parts = {name: [_read_file(path, images, other)
                    for path in track(paths, f'reading {name} labels')]
             for name, paths in _files_of_splits(root).items() if paths}
    if other and notes is not None:
        notes.append(f'{len(other)} XML files name another image than the one that is called like '
                     f'them, which was taken (the first: {other[0]})')
    return to_splits(root, parts)


def _files_of_splits(root: Path) -> Dict[str, List[Path]]:
    """Return the XML files of every part."""
    files = sorted(files_below(root, ('.xml', )))
    lists = root / 'ImageSets' / 'Main'
    listed = {name: _listed(lists / f'{name}.txt', files) for name in SPLITS}
    if not listed['train']:
        listed['train'] = _listed(lists / 'trainval.txt', files)
    if listed['train']:
        return listed
    of_folder = {name: [path for path in files if path.relative_to(root).parts[0].lower() in parts]
                 for name, parts in FOLDERS.items()}
    if not of_folder['train']:  # Annotations/train/*.xml
        of_folder = {name: [path for path in files if set(parts) & {
            part.lower() for part in path.relative_to(root).parts[:-1]}]
            for name, parts in FOLDERS.items()}
    return of_folder if of_folder['train'] else {'train': files}


def _listed(path: Path, files: List[Path]) -> List[Path]:
    if not path.is_file():
        return []
    by_stem = {file.stem: file for file in files}
    paths = {'/'.join(file.with_suffix('').parts[-2:]): file for file in files}
    found = []
    for line in read_text(path).splitlines():
        # lists of one class have 1, 0 or -1 behind each name
        name = re.sub(r'\s+-?[01]$', '', line.strip())
        if not name:
            continue
        file = paths.get(name) or by_stem.get(name) or by_stem.get(Path(name).stem)
        if file is None:
            raise DataError(f"'{name}.xml' does not exist but is listed in ImageSets/Main")
        found.append(file)
    return found


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        DataError: It is damaged.
    """
    try:
        data = path.read_bytes()
        return _without_namespaces(_parse(data))
    except (SyntaxError, LookupError, ValueError, RecursionError) as error:
        if _utf8(data):
            raise DataError(f"'{path}' is not complete XML ({error}): copy or export it again"
                            ) from None
        raise DataError(f"'{path}' cannot be read as XML ({error}): it is damaged, or not in the "
                        'encoding that its first line says (UTF-8 if it says none); save it in '
                        'UTF-8') from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None


def _parse(data: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)
    except ValueError:
        # the parser knows no encodings of several bytes; Python does
        stated = re.match(rb'\s*<\?xml[^>]*encoding=["\']([\w.-]+)["\'][^>]*\?>', data)
        if stated is None:
            raise
        name = stated[1].decode().lower()
        # what is called GB2312 is mostly its successor
        text = data[stated.end():].decode(dict(gb2312='gb18030', gbk='gb18030').get(name, name))
        return ElementTree.fromstring(text)


def _without_namespaces(tree: ElementTree.Element) -> ElementTree.Element:
    for node in tree.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition('}')[2]
    return tree


def _utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_file(path: Path, images: ImageIndex, other: List[str]) -> LabelledImage:
    """Return an image with the objects of its XML file."""
    tree = read_xml(path)
    image = _image_of(path, (tree.findtext('filename') or '').strip(), images, other)
    size = [number_of(tree.findtext(f'size/{key}')) for key in ('width', 'height')]
    sound = all(is_number(value) and 1 <= value < 1e6 for value in size)
    objects = []
    for item in tree.iter('object'):
        corners = [number_of(item.findtext(f'bndbox/{key}'))
                   for key in ('xmin', 'ymin', 'xmax', 'ymax')]
        if not all(isinstance(value, (int, float)) for value in corners):
            raise DataError(f"'{path}': an object has no bndbox with four numbers "
                            '(xmin, ymin, xmax, ymax): export upright boxes')
        label = (item.findtext('name') or '').strip()
        if not label:
            raise DataError(f"'{path}': an object has no name")
        x1, y1, x2, y2 = map(float, corners)
        if max(x1, y1, x2, y2) > 1:
            x1, y1 = x1 - 1, y1 - 1  # inclusive and from 1; fractions are refused later
        objects.append((label, [x1, y1, x2 - x1, y2 - y1]))
    return LabelledImage(image, (int(size[0]), int(size[1])) if sound else None, objects)


def _image_of(path: Path, name: str, images: ImageIndex, other: List[str]) -> Path:
    """Return the image of an XML file; where it would be if there is none."""
    found = images.by_stem(path.stem, path)
    named = images.by_name(name, path) if name else None
    if found is not None:
        if named is not None and named.stem.lower() != path.stem.lower():
            other.append(path.name)
        return found
    if named is not None:
        return named
    folder = images.root / 'JPEGImages'
    return (folder if folder.is_dir() else path.parent) / (
        Path(name.replace('\\', '/')).name or f'{path.stem}.jpg')


def is_voc(path: Path) -> bool:
    """Whether an XML file describes one image, by its first bytes."""
    try:
        with open(path, 'rb') as file:
            return bool(re.search(rb'<annotation[\s>]', file.read(3000).replace(b'\0', b'')))
    except OSError:
        return False


def find_voc(data: Path) -> Optional[Path]:
    """Return the folder if there is such an XML file in it."""
    if not data.is_dir():
        return None
    return data if any(map(is_voc, islice(files_below(data, ('.xml', )), 200))) else None
