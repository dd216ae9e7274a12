"""Reading what labelling tools export besides COCO, YOLO and VOC.

CVAT's XML, JSON of LabelMe, Label Studio, VIA and CreateML, and tables of boxes
(CSV). Maintained readers (supervision, globox, datumaro, pylabel) read some of these;
they want to be told the format, leave shapes other than boxes out without a word,
know no parts, and end in tracebacks on damaged files.
"""
import codecs
import csv
import io
import math
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from mmyolonas.datasets.formats.coco_checks import read_json
from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.coco_values import class_name, is_number, number_of
from mmyolonas.datasets.formats.labelled_images import ImageIndex, LabelledImage, to_splits
from mmyolonas.datasets.formats.split_names import split_of
from mmyolonas.datasets.formats.text_files import read_text
from mmyolonas.datasets.formats.voc_format import read_xml
from mmyolonas.datasets.formats.walking import files_below
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.progress import track

_COLUMNS = {
    'image': ('filename', 'file_name', 'image', 'image_id', 'imageid', 'image_path', 'img', 'path',
              'file'),
    'label': ('class', 'label', 'labelname', 'category', 'name', 'class_name', 'label_name'),
    'x1': ('xmin', 'x1', 'x_min', 'left'), 'y1': ('ymin', 'y1', 'y_min', 'top'),
    'x2': ('xmax', 'x2', 'x_max', 'right'), 'y2': ('ymax', 'y2', 'y_max', 'bottom'),
    'x': ('x', 'bbox_x', 'x_left'), 'y': ('y', 'bbox_y', 'y_top'),
    'w': ('w', 'bbox_width', 'box_width', 'bbox_w'),
    'h': ('h', 'bbox_height', 'box_height', 'bbox_h'),
    'bbox': ('bbox', 'box')}
_SAMPLE = 50  # files looked at to find out a format

Files = Dict[Path, Any]


def find_tool_export(data: Path) -> Optional[Tuple[str, Path, List[Path]]]:
    """Return the format, the folder and the label files of a tool's export."""
    root = data if data.is_dir() else data.parent
    for name, (suffix, known, _) in READERS.items():
        files = [data] if data.is_file() else sorted(files_below(root, (suffix, )))
        files = [path for path in files if path.suffix.lower() == suffix]
        if any(_knows(known, path) for path in files[:_SAMPLE]):
            return name, root, files
    return None


def _knows(known: Callable[[str], bool], path: Path) -> bool:
    try:
        with open(path, 'rb') as file:
            head = file.read(1 << 16)
            if known(_plain(head)):
                return True
            # a picture or a mask within the file can stand before what it is known by
            return len(head) == 1 << 16 and path.suffix.lower() == '.json' and known(
                _plain(head + file.read()))
    except OSError:
        return False


def _plain(data: bytes) -> str:
    """Return text of any Unicode encoding, of which the ASCII part matters."""
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        data = data.removeprefix(mark)
    return data.replace(b'\0', b'').decode('utf-8', 'replace')


def read_tool_export(found: Tuple[str, Path, List[Path]],
                     notes: List[str]) -> Dict[str, CocoSplit]:
    """Read an export that :func:`find_tool_export` found.

    Args:
        found (tuple): Its result.
        notes (list[str]): Gets sentences on what was left out.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test': of the part that the name or the
        folder of a file or its image speaks of; 'train' without.

    Raises:
        DataError: A file is damaged.
    """
    name, root, files = found
    images, left_out = ImageIndex(root), Counted()
    parts: Dict[str, List[LabelledImage]] = {}
    others: List[Path] = []
    for path in track(files, f'reading {name} labels'):
        if not _knows(READERS[name][1], path):
            others.append(path)
            continue
        try:
            items = list(READERS[name][2](path, images, left_out))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, csv.Error) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"'{path}' is not as {name} writes it ({type(error).__name__}: "
                            f'{error}): export it again') from None
        for item in items:
            part = split_of(path, root) or split_of(item.path, root) or 'train'
            parts.setdefault(part, []).append(item)
    notes += [f'{count} {what} were left out' for what, count in left_out.counts.items()]
    if others:
        notes.append(f'{len(others)} {READERS[name][0]} files are not as {name} writes them and '
                     f"were left out (the first: '{others[0]}')")
    return to_splits(root, parts)


class Counted:
    """Numbers of what was left out, by kind."""

    def __init__(self) -> None:
        self.counts: Dict[str, int] = {}

    def add(self, what: str) -> None:
        """Count one."""
        self.counts[what] = self.counts.get(what, 0) + 1


def _image(images: ImageIndex, name: Any, near: Path) -> Path:
    text = str(name or '')
    return images.by_name(text, near) or images.root / (
        text.replace('\\', '/').rsplit('/', 1)[-1].replace('\0', '') or f'{near.stem}.jpg')


def _enclosing(points: Iterable[Tuple[Any, Any]], where: str) -> List[float]:
    """Return x, y, width, height of the box around points."""
    points = [(number_of(x), number_of(y)) for x, y in points]
    if not points or not all(is_number(value) for point in points for value in point):
        raise DataError(f'{where}: the corners of an object must be finite numbers')
    xs, ys = zip(*points)
    return [float(min(xs)), float(min(ys)), float(max(xs) - min(xs)), float(max(ys) - min(ys))]


def _size(width: Any, height: Any) -> Optional[Tuple[int, int]]:
    values = [number_of(width), number_of(height)]
    if all(is_number(v) and 1 <= v < 1e6 for v in values):
        return int(values[0]), int(values[1])
    return None


def _labelme(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    content = read_json(str(path), str(path))
    shapes = content.get('shapes') if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise DataError(f"'{path}' has no list 'shapes': export it again from LabelMe")
    objects = []
    for shape in shapes:
        kind, points = shape.get('shape_type') or 'polygon', shape.get('points')
        label = class_name(shape.get('label'), f"'{path}': the label of a shape")
        if not isinstance(points, list) or not all(
                isinstance(p, list) and len(p) == 2 for p in points):
            raise DataError(f"'{path}': the points of a shape must be pairs of numbers")
        if kind in ('point', 'points', 'line', 'linestrip') or len(points) < 2:
            left_out.add(f'{kind} shapes')
            continue
        if kind == 'circle' and len(points) == 2:
            (x, y), (u, v) = [[float(number_of(c)) for c in p] for p in points]
            radius = math.hypot(u - x, v - y)
            points = [(x - radius, y - radius), (x + radius, y + radius)]
        objects.append((label, _enclosing(points, f"'{path}'")))
    image = images.by_stem(path.stem, path)  # renaming leaves imagePath behind
    size = _size(content.get('imageWidth'), content.get('imageHeight'))
    yield LabelledImage(image or _image(images, content.get('imagePath'), path), size, objects)


def _cvat(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    tree = read_xml(path)
    if tree.find('track') is not None and tree.find('image') is None:
        raise DataError(f"'{path}' is CVAT's format for video: export the task as 'CVAT for "
                        "images', or as COCO, with the images")
    for node in tree.iter('image'):
        objects = []
        for shape in node:
            get, label = shape.attrib.get, (shape.attrib.get('label') or '').strip()
            if shape.tag == 'box':
                corners = [(get('xtl'), get('ytl')), (get('xbr'), get('ybr'))]
            elif shape.tag in ('polygon', 'polyline'):
                corners = [tuple(p.split(',')[:2]) for p in (get('points') or '').split(';') if p]
            elif shape.tag == 'ellipse':
                cx, cy, rx, ry = (float(number_of(get(k) or 'x')) for k in ('cx', 'cy', 'rx', 'ry'))
                corners = [(cx - rx, cy - ry), (cx + rx, cy + ry)]
            else:
                if shape.tag not in ('tag', 'attribute'):
                    left_out.add(f'{shape.tag} shapes')
                continue
            if not label:
                raise DataError(f"'{path}': an object has no label")
            objects.append((label, _enclosing(corners, f"'{path}'")))
        yield LabelledImage(_image(images, node.get('name'), path),
                            _size(node.get('width'), node.get('height')), objects)


def _label_studio(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    for task in read_json(str(path), str(path)):
        results = [r for a in task.get('annotations') or [] if not a.get('was_cancelled')
                   for r in a.get('result') or []]
        data = task.get('data') or {}
        name = next((v for v in data.values() if isinstance(v, str) and '.' in v), '')
        # uploads are called <hash>-<name>; exports keep either
        last = name.split('?')[0].replace('\\', '/').rsplit('/', 1)[-1]
        image = images.by_name(last, path) or images.by_name(last.split('-', 1)[-1], path)
        objects, size = [], None
        for result in results:
            value, kind = result.get('value') or {}, result.get('type')
            size = size or _size(result.get('original_width'), result.get('original_height'))
            labels = value.get(kind) or value.get('rectanglelabels') or value.get('polygonlabels')
            if not labels or size is None:
                left_out.add(f'{kind} labels')
                continue
            if 'points' in value:
                corners = value['points']
            elif all(key in value for key in ('x', 'y', 'width', 'height')):
                x, y, w, h = (float(number_of(value[k])) for k in ('x', 'y', 'width', 'height'))
                corners = [(x, y), (x + w, y + h)]
            else:
                left_out.add(f'{kind} labels')
                continue
            box = _enclosing(corners, f"'{path}'")  # in percent
            scale = (size[0] / 100, size[1] / 100) * 2
            objects.append((class_name(labels[0], f"'{path}': a label"),
                            [v * s for v, s in zip(box, scale)]))
        yield LabelledImage(image or _image(images, last, path), size, objects)


def _via(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    content = read_json(str(path), str(path))
    content = content.get('_via_img_metadata', content)
    for entry in content.values():
        if not isinstance(entry, dict) or 'regions' not in entry:
            continue
        regions = entry['regions']
        objects = []
        for region in regions.values() if isinstance(regions, dict) else regions:
            shape, labels = region['shape_attributes'], region.get('region_attributes') or {}
            if shape.get('name') == 'rect':
                x, y = float(number_of(shape['x'])), float(number_of(shape['y']))
                corners = [(x, y), (x + float(number_of(shape['width'])),
                                    y + float(number_of(shape['height'])))]
            elif 'all_points_x' in shape:
                corners = list(zip(shape['all_points_x'], shape['all_points_y']))
            else:
                left_out.add(f'{shape.get("name")} shapes')
                continue
            label = next((v for v in labels.values() if isinstance(v, str) and v.strip()), 'object')
            objects.append((label, _enclosing(corners, f"'{path}'")))
        yield LabelledImage(_image(images, entry.get('filename'), path), None, objects)


def _createml(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    for entry in read_json(str(path), str(path)):
        objects = []
        for item in entry.get('annotations') or []:
            c = item['coordinates']
            x, y, w, h = (float(number_of(c[k])) for k in ('x', 'y', 'width', 'height'))
            label = class_name(item.get('label'), f"'{path}': a label")
            # x and y are the centre
            objects.append((label, _enclosing([(x - w / 2, y - h / 2), (x + w / 2, y + h / 2)],
                                              f"'{path}'")))
        yield LabelledImage(_image(images, entry.get('image'), path), None, objects)


def _table(path: Path, images: ImageIndex, left_out: Counted) -> Iterable[LabelledImage]:
    text = read_text(path).replace('\r\n', '\n').replace('\r', '\n').lstrip('\n')
    delimiter = max(',;\t', key=text.split('\n', 1)[0].count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    columns = _columns((rows[0] or {}).keys()) if rows else {}
    of_image: Dict[str, List[Tuple[str, List[float]]]] = {}
    for number, row in enumerate(rows, 2):
        name = (row[columns['image']] or '').strip()
        if not name:
            left_out.add('lines without an image')
            continue
        objects = of_image.setdefault(name, [])
        values = _row_numbers(row, columns)
        if delimiter == ';' and 'bbox' not in columns:
            values = [value.replace(',', '.') for value in values]
        if not any(values):
            continue  # an image without objects
        numbers = [number_of(value) for value in values]
        if len(numbers) != 4 or not all(is_number(value) for value in numbers):
            raise DataError(f"'{path}', line {number}: expected four finite numbers of a box, got "
                            f'{str(values)[:60]}')
        x, y, w, h = map(float, numbers)
        box = [x, y, w - x, h - y] if 'x1' in columns else [x, y, w, h]
        label = (row.get(columns.get('label', '')) or 'object').strip() or 'object'
        objects.append((label, box))
    for name, objects in of_image.items():
        image = images.by_name(name, path) or images.by_stem(name, path)
        yield LabelledImage(image or _image(images, name, path), None, objects)


def _row_numbers(row: Dict[str, Any], columns: Dict[str, str]) -> List[str]:
    if 'bbox' in columns:
        return (row[columns['bbox']] or '').strip(' []()').replace(',', ' ').split()
    keys = ('x1', 'y1', 'x2', 'y2') if 'x1' in columns else ('x', 'y', 'w', 'h')
    return [(row[columns[key]] or '').strip() for key in keys]


def _columns(names: Iterable[Any]) -> Dict[str, str]:
    """Return which column is which; empty if these are no boxes."""
    found: Dict[str, str] = {}
    for column in names:
        for key, known in _COLUMNS.items():
            if str(column or '').strip().lower() in known and key not in found:
                found[key] = column
    sets: Sequence[set] = ({'x1', 'y1', 'x2', 'y2'}, {'bbox'}, {'x', 'y', 'w', 'h'})
    if 'image' in found and any(keys <= found.keys() for keys in sets):
        if not {'x1', 'y1', 'x2', 'y2'} <= found.keys():
            found.pop('x1', None)
        return found
    return {}


def _is_table(text: str) -> bool:
    line = text.replace('\r', '\n').lstrip('\ufeff\n').split('\n', 1)[0]
    return bool(_columns(name.strip().strip('"') for name in line.replace(';', ',').replace(
        '\t', ',').split(',')))


def _starts(text: str, *keys: str, array: bool = False) -> bool:
    start = text.lstrip('\ufeff \t\r\n')[:1]
    return start == ('[' if array else '{') and all(f'"{key}"' in text for key in keys)


#: By format: suffix, whether a beginning of a file is of it, and the reader.
READERS: Dict[str, Tuple[str, Callable[[str], bool], Callable]] = {
    'cvat': ('.xml', lambda text: '<annotations' in text, _cvat),
    'labelme': ('.json', lambda text: _starts(text, 'shapes') and (
        '"imagePath"' in text or '"shape_type"' in text or '"flags"' in text), _labelme),
    'labelstudio': ('.json', lambda text: _starts(text, 'annotations', 'data', array=True),
                    _label_studio),
    'createml': ('.json', lambda text: _starts(text, 'annotations', 'coordinates', array=True),
                 _createml),
    'via': ('.json', lambda text: _starts(text, 'regions', 'filename'), _via),
    'csv': ('.csv', _is_table, _table),
}
