"""Values of COCO files as they should be: numbers written as text, names, ids of any kind."""
import math
import re
from typing import Any, Dict, List, Optional, Sequence

from mmyolonas.utils.data_error import DataError

#: What must be numbers in entries of each list, if it is there.
_NUMBERS = {'images': ('height', 'width'), 'annotations': ('area', 'iscrowd', 'ignore',
                                                           'num_keypoints', 'score')}
_LISTS = ('bbox', 'keypoints')
_REFERENCES = {'images': ('image_id', ), 'categories': ('category_id', )}
_LONGEST = 255  # bytes that a file system allows in a name
_DIGITS = re.compile(r'\s*[+-]?\d{1,18}(\.0*)?\s*')

Ids = Dict[str, Dict[int, Any]]


def number_of(value: Any) -> Any:
    """Return the number that a text spells, as an int where it is one; else the value."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 64 else value
        except ValueError:
            return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and not a truth value."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and abs(value) < 1e300 and math.isfinite(value))


def normalise(data: Dict[str, Any], name: str) -> Ids:
    """Repair what exports write in other forms, in place.

    Ids become integers (``"1"`` and ``1.0`` are 1; if there are others, such as
    UUIDs, all ids of the list are numbered), numbers written as text become
    numbers, names become text, and what is missing but optional stays missing.

    Args:
        data (dict): With lists of objects that have their required keys.
        name (str): How to call the file in messages.

    Returns:
        dict: For 'images' and 'categories' the file's own id of each id.

    Raises:
        DataError: A value cannot be understood; the message says where.
    """
    own: Ids = {}
    for kind in ('images', 'categories'):
        table = _new_ids(data[kind], kind, name)
        own[kind] = {}
        for entry in data[kind]:
            own[kind][table[_key(entry['id'])]] = entry['id']
            entry['id'] = table[_key(entry['id'])]
        # what refers to nothing gets numbers of its own, to be counted later
        unknown = max(table.values(), default=0)
        for annotation in data['annotations']:
            for key in _REFERENCES[kind]:
                value = _key(annotation[key])
                if value not in table:
                    unknown += 1
                    taken = isinstance(value, int) and value not in table.values()
                    table[value] = value if taken else unknown
                annotation[key] = table[value]
    for index, entry in enumerate(data['annotations'], 1):
        if not isinstance(_key(entry['id']), int):
            entry['id'] = index
        entry['id'] = _key(entry['id'])
    for kind, keys in _NUMBERS.items():
        _numbers(data[kind], kind, keys, name)
    for annotation in data['annotations']:
        for key in _LISTS:
            if isinstance(annotation.get(key), (list, tuple)):
                annotation[key] = [number_of(value) for value in annotation[key]]
    _names(data, name)
    return own


def _key(value: Any) -> Any:
    """Return an id as an integer if it is one in any spelling, else as text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(float(value)) if '.' in value else int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _new_ids(entries: List[dict], kind: str, name: str) -> Dict[Any, int]:
    """Return the integer id for each id that occurs, all distinct."""
    keys = [_key(entry['id']) for entry in entries]
    if len(set(keys)) < len(keys):
        seen: set = set()
        double = dict.fromkeys(str(k) for k in keys if k in seen or seen.add(k))
        shown = ', '.join(repr(key) for key in list(double)[:5])
        raise DataError(f"annotation file '{name}': the ids of '{kind}' must be unique, but these "
                        f'occur more than once: {shown}')
    if all(isinstance(key, int) and abs(key) < 2**63 for key in keys):
        return {key: key for key in keys}
    return {key: number for number, key in enumerate(keys, 1)}


def _numbers(entries: List[dict], kind: str, keys: Sequence[str], name: str) -> None:
    for index, entry in enumerate(entries):
        for key in keys:
            value = entry.get(key)
            if value is None:
                # sizes and scores are asked for elsewhere; the others are optional
                if key not in ('height', 'width', 'score'):
                    entry.pop(key, None)
                continue
            value = int(value) if isinstance(value, bool) else number_of(value)
            if key in ('iscrowd', 'ignore') and isinstance(value, str):
                value = dict(true=1, false=0, yes=1, no=0).get(value.lower(), value)
            if key == 'area' and isinstance(value, float) and not math.isfinite(value):
                entry.pop(key)  # that of the box takes its place
                continue
            # what reads sizes and scores has a sentence of its own
            if key not in ('height', 'width', 'score') and not is_number(value):
                raise DataError(f"annotation file '{name}': {key} of entry {index} of '{kind}' "
                                f'must be a number, got {_short(value)}')
            entry[key] = value


def _names(data: Dict[str, Any], name: str) -> None:
    for index, category in enumerate(data['categories']):
        category['name'] = class_name(category['name'], f"annotation file '{name}': the name of "
                                      f"entry {index} of 'categories'")
    for index, image in enumerate(data['images']):
        value = image['file_name']
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip() or '\0' in value or any(
                len(part.encode('utf-8', 'surrogatepass')) > _LONGEST
                for part in re.split(r'[/\\]', value)):
            raise DataError(f"annotation file '{name}': file_name of entry {index} of 'images' "
                            f'must be a name, got {_short(value)}')
        image['file_name'] = value


def class_name(value: Any, where: str) -> str:
    """Return a class name as text: the one way in for names.

    Args:
        value: Text or a number.
        where (str): What it is, for the message.

    Raises:
        DataError: It is anything else, or empty.
    """
    if isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f'{where} must be a text, got {_short(value)}')
    return value


def _short(value: Any, limit: int = 60) -> Optional[str]:
    text = ascii(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + '...'
