"""Reading and checking COCO annotation files: pure functions."""
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_values import Ids, is_number, normalise
from mmyolonas.utils.data_error import DataError

_LONG = 100  # characters of a name that a message has
_SIZE_KEYS = ('height', 'width')
_IMAGE_KEYS = ('id', 'file_name', *_SIZE_KEYS)
_ANNOTATION_KEYS = ('id', 'image_id', 'category_id', 'bbox')


@dataclass
class CategoryMap:
    """How the categories of a file become labels.

    Attributes:
        labels (dict[int, int]): Label of every used category id.
        cat_ids (list[int]): For each label its category id (the one with
            boxes where a name occurs twice).
        left_out (list[str]): Names in the file that are not classes.
        in_file_order (bool): Whether mmdet's own ``CocoMetric`` would number
            the classes in the same way.
    """
    labels: Dict[int, int]
    cat_ids: List[int]
    left_out: List[str]
    in_file_order: bool


@dataclass
class CleanBoxes:
    """Boxes after checking.

    Attributes:
        boxes (ndarray): (N, 4) float64 xyxy, clipped to the image.
        keep (ndarray): (N,) bool, False for boxes that cannot be used.
        problems (dict[str, int]): Sentence part -> number of boxes.
    """
    boxes: np.ndarray
    keep: np.ndarray
    problems: Dict[str, int]


def shorten(names: Sequence, limit: int = 5) -> str:
    """Return the first names of a list as text, long ones cut, with the number of the others."""
    names = [text if len(text := str(name)) <= _LONG else f'{text[:_LONG]}...' for name in names]
    text = ', '.join(repr(name) for name in names[:limit])
    return f'{text} and {len(names) - limit} more' if len(names) > limit else text


def read_coco_file(path: str, name: str, need_annotations: bool = True) -> Dict[str, Any]:
    """Read a COCO annotation file, check its structure and repair its values.

    Args:
        path (str): Local file.
        name (str): How to call it in messages.
        need_annotations (bool): Whether a file without the ``annotations``
            list is an error. Defaults to True.

    Returns:
        dict: With the lists ``images``, ``annotations`` and ``categories``; ids are
        integers, sizes numbers, names text.

    Raises:
        DataError: If the file is missing, cut short or not in COCO format.
    """
    return read_coco(path, name, need_annotations)[0]


def read_coco(path: str, name: str, need_annotations: bool = True) -> Tuple[Dict[str, Any], Ids]:
    """Read a file as :func:`read_coco_file` does; also return the file's own ids.

    Returns:
        tuple[dict, dict]: The file, and for 'images' and 'categories' the id that
        the file has for each id in it; a result file must speak of those.
    """
    data = read_json(path, name)
    if not isinstance(data, dict):
        raise DataError(f"annotation file '{name}' is not in COCO format: it holds a "
                        f'{type(data).__name__} instead of an object with images, annotations '
                        'and categories')
    needed = ['images', 'categories'] + ['annotations'] * need_annotations
    missing = [key for key in needed if not isinstance(data.get(key), list)]
    if missing:
        raise DataError(f"annotation file '{name}' is not in COCO format: it has no list "
                        f'{shorten(missing)}')
    if not isinstance(data.setdefault('annotations', []), list):
        data['annotations'] = []
    for kind, keys in (('images', _IMAGE_KEYS), ('annotations', _ANNOTATION_KEYS),
                       ('categories', ('id', 'name'))):
        _check_entries(data[kind], kind, keys, name)
    ids = normalise(data, name)
    for image in data['images']:
        if not all(is_number(image[k]) and 1 <= image[k] < 1e6 for k in _SIZE_KEYS):
            raise DataError(f"annotation file '{name}': the height and width of image "
                            f"'{image['file_name']}' must be positive numbers of pixels, got "
                            f"{image['height']!r} and {image['width']!r}")
    return data, ids


def read_json(path: str, name: str) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        DataError: It is missing, cut short, or no JSON.
    """
    try:
        with open(path, 'rb') as file:
            text = file.read()
        return json.loads(text.decode(json.detect_encoding(text)))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(f"annotation file '{name}' does not exist: check data_root and ann_file "
                        'in the config') from None
    except OSError as error:
        raise DataError(f"annotation file '{name}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"annotation file '{name}' is not text in UTF-8 (byte {error.start}): save "
                        'it in UTF-8, or copy it again if it was damaged') from None
    except RecursionError:
        raise DataError(f"annotation file '{name}' is not in COCO format: its lists are nested "
                        'too deeply') from None
    except ValueError as error:
        raise DataError(f"annotation file '{name}' is not complete JSON ({error}): it was "
                        'probably cut short, copy or export it again') from None


def _check_entries(entries: List[dict], kind: str, keys: Sequence[str], name: str) -> None:
    """Raise DataError unless all entries have all keys, and ids that are numbers or text."""
    ids = [key for key in keys if key.endswith('id')]
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"annotation file '{name}': entry {index} of '{kind}' must be an "
                            f'object with {shorten(keys)}, got {repr(entry)[:60]}')
        if 'id' not in entry and kind == 'annotations':
            entry['id'] = index + 1  # nothing refers to it
        missing = [key for key in keys if key not in entry]
        if missing:
            raise DataError(f"annotation file '{name}': entry {index} of '{kind}' has no "
                            f'{shorten(missing)}')
        odd = [key for key in ids if isinstance(entry[key], bool)
               or not isinstance(entry[key], (int, float, str)) or entry[key] != entry[key]]
        if odd:
            raise DataError(f"annotation file '{name}': {odd[0]} of entry {index} of '{kind}' "
                            f'must be a number, got {repr(entry[odd[0]])[:60]}')
    if kind == 'annotations':
        counts = Counter(str(entry['id']) for entry in entries)
        double = [key for key, count in counts.items() if count > 1]
        if double:
            raise DataError(f"annotation file '{name}': the ids of '{kind}' must be unique, but "
                            f'these occur more than once: {shorten(double)}')


def check_classes(classes: Any) -> Tuple[str, ...]:
    """Return ``metainfo['classes']`` as a tuple of distinct names, or raise DataError."""
    if isinstance(classes, str):
        raise DataError(f'metainfo classes must be a tuple of names, not the text {classes!r}: '
                        f'write classes=({classes!r}, )')
    classes = tuple(classes or ())
    if not classes or len(set(classes)) < len(classes):
        raise DataError('metainfo classes must be a tuple of distinct names, got '
                        f'{classes!r}')
    return classes


def map_categories(data: Dict[str, Any], classes: Sequence[str], name: str,
                   strict: bool = True) -> CategoryMap:
    """Match the categories of a COCO file with class names.

    Labels follow the order of ``classes``, not the order in the file. A name
    that occurs twice, as in Roboflow exports whose box-less category 0 (the
    super-category) is called like a class, stands for both ids.

    Args:
        data (dict): The COCO file.
        classes (Sequence[str]): Class names, label 0 first.
        name (str): How to call the file in messages.
        strict (bool): Whether classes that the file does not know are an
            error; if not, they have no boxes. Defaults to True.

    Returns:
        CategoryMap: The match.

    Raises:
        DataError: If class names do not match, or boxes have category ids
            that the file does not define.
    """
    classes = check_classes(classes)
    categories = data['categories']
    known = [category['name'] for category in categories]
    missing = [cls for cls in classes if cls not in known]
    if missing and (strict or len(missing) == len(classes)):
        raise DataError(f"annotation file '{name}' has no category called {shorten(missing)}; it "
                        f'has {shorten(known, 80)}: correct metainfo classes (and num_classes of '
                        'the model) in the config')
    counts = Counter(annotation['category_id'] for annotation in data['annotations'])
    unknown = sorted(set(counts) - {category['id'] for category in categories}, key=str)
    if unknown:
        raise DataError(f"annotation file '{name}': {sum(counts[i] for i in unknown)} boxes have "
                        f"the category id {shorten(unknown)}, which is not in its 'categories': "
                        'add the category or remove the boxes')
    index = {cls: label for label, cls in enumerate(classes)}
    labels = {c['id']: index[c['name']] for c in categories if c['name'] in index}
    cat_ids = []
    for label in range(len(classes)):
        ids = [cat_id for cat_id, other in labels.items() if other == label]
        cat_ids.append(max(ids, key=lambda cat_id: counts[cat_id]) if ids else None)
    left_out = [c['name'] for c in categories if c['id'] not in labels and counts[c['id']]]
    return CategoryMap(labels, cat_ids, left_out, in_file_order=list(labels) == cat_ids)


def coco_classes(path: str) -> Tuple[str, ...]:
    """Return the class names of a COCO file in its order.

    Roboflow exports begin with a category of id 0 that holds no boxes and
    names the whole set; it is dropped.

    Args:
        path (str): The annotation file.

    Returns:
        tuple[str]: Class names.
    """
    data = read_coco_file(path, path)
    used = {annotation['category_id'] for annotation in data['annotations']}
    names = [category['name'] for category in data['categories']
             if category['id'] != 0 or 0 in used or len(data['categories']) == 1]
    return tuple(dict.fromkeys(names))


def box_array(annotations: Sequence[Dict[str, Any]], name: str) -> np.ndarray:
    """Return the boxes of annotations.

    Args:
        annotations (Sequence[dict]): Annotations of a COCO file.
        name (str): How to call the file in messages.

    Returns:
        ndarray: (N, 4) float64 x, y, width, height.

    Raises:
        DataError: A box is not four numbers; the message names the first.
    """
    boxes = [a['bbox'] for a in annotations]
    try:
        array = np.array(boxes)
        if array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in 'iuf':
            return array.astype(np.float64)
    except ValueError:
        pass
    if boxes and all(isinstance(box, (list, tuple)) and not box for box in boxes):
        raise DataError(f"annotation file '{name}': the box of every annotation is empty ([]): "
                        'export the labels with boxes (of masks alone a labelling tool makes them)')
    for annotation in annotations:
        box = annotation['bbox']
        if not (isinstance(box, (list, tuple)) and len(box) == 4 and all(map(_is_value, box))):
            raise DataError(f"annotation file '{name}': the box of annotation "
                            f"{annotation['id']} must be four numbers (x, y, width, height), "
                            f'got {str(box)[:60]}')
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _is_value(value: Any) -> bool:
    """Whether a value is a number that fits into 64 bits; NaN is one, to be counted later."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and (isinstance(value, float) or abs(value) < 2**63))


def clean_boxes(boxes: np.ndarray, sizes: np.ndarray) -> CleanBoxes:
    """Clip boxes to their images and find those that cannot be used.

    Args:
        boxes (ndarray): (N, 4) x, y, width, height in pixels; may hold NaN.
        sizes (ndarray): (N, 2) width and height of each box's image.

    Returns:
        CleanBoxes: Clipped corners, what to keep, and counted problems. Boxes
        reaching less than a pixel over the border are clipped without count.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    finite = np.isfinite(boxes).all(1)
    corners = np.where(finite[:, None], boxes, 0)
    with np.errstate(over='ignore'):  # infinity is outside
        corners[:, 2:] += corners[:, :2]
    limits = np.concatenate([sizes, sizes], axis=1)
    clipped = np.clip(corners, 0, limits)
    size, visible = boxes[:, 2:], clipped[:, 2:] - clipped[:, :2]
    positive = (size > 0).all(1)
    inside = (visible > 0).all(1)
    large = (size >= 1).all(1)
    reasons = {
        'have coordinates that are not finite numbers and were dropped': ~finite,
        'have zero or negative width or height and were dropped': finite & ~positive,
        'lie outside their image and were dropped': finite & positive & ~inside,
        'are thinner than a pixel and were dropped': finite & positive & inside & ~large,
        'reach over the image border and were clipped':
        finite & large & inside & (np.abs(clipped - corners) > 1).any(1),
    }
    problems = {text: int(mask.sum()) for text, mask in reasons.items() if mask.any()}
    return CleanBoxes(clipped, finite & positive & inside & large, problems)
