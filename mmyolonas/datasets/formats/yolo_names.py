"""Class names of YOLO data sets, in every form that a YAML or text file may give them."""
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmyolonas.datasets.formats.coco_values import class_name, number_of
from mmyolonas.datasets.formats.text_files import read_text
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError

_HOW = 'write names: [first, second] or a line "0: first" for each class'
_NULL = ('~', 'null', 'Null', 'NULL')


def read_names(path: Path) -> List[str]:
    """Return class names from a text file or the ``names`` of a YAML file.

    The place of a name is its number in the label files. A mapping may leave
    numbers out; these classes are called ``class <number>``.

    Raises:
        UserError, DataError: There are none, or they cannot be understood.
    """
    if not path.is_file():
        raise UserError(f'file of class names {path} does not exist.')
    if path.suffix.lower() in ('.yaml', '.yml'):
        return names_of(read_yaml(path), path)
    names = [line.strip() for line in read_text(path).splitlines()]
    while names and not names[-1]:
        names.pop()
    if not any(names):
        raise UserError(f'{path} holds no class names.')
    return [name or f'class {index}' for index, name in enumerate(names)]


def read_yaml(path: Path) -> Dict[str, Any]:
    """Return the mapping in a YAML file; every value is text as it is written.

    YAML itself takes ``no`` for false, ``1_0`` for ten and ``0x1F`` for 31, which
    names of classes and folders are not.

    Raises:
        DataError: It is not one.
    """
    import yaml
    try:
        value = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or ['its lists are nested too deeply'])[0]
        raise DataError(f"'{path}' is not a valid YAML file: {reason}") from None
    if not isinstance(value, dict):
        raise DataError(f"'{path}' must hold names: [...] and train: ..., val: ...; it holds "
                        f'{type(value).__name__}')
    # an empty value, as it is mostly written; within names it would be a name
    return {key: '' if item in _NULL else item for key, item in value.items()}


def names_of(values: Dict[str, Any], path: Path) -> List[str]:
    """Return the class names of a description.

    Args:
        values (dict): From :func:`read_yaml`.
        path (Path): The file, for messages and relative paths.

    Raises:
        DataError: They cannot be understood, or their number is not ``nc``.
    """
    where = f"'{path}': a name of a class"
    names = values.get('names')
    if isinstance(names, str):
        names = _names_of_text(names, values, path)
    if isinstance(names, dict):
        table = _by_number(names, path)
    elif isinstance(names, list) and names and all(isinstance(n, dict) for n in names):
        table = _by_number(_merged(names, path), path)
    elif isinstance(names, list):
        table = {index: class_name(name, where) for index, name in enumerate(names)}
    else:
        table = {}
    if not table:
        raise DataError(f"'{path}' holds no class names: {_HOW}")
    if max(table) > 100_000:
        raise DataError(f"'{path}': {max(table)} is no number of a class: {_HOW}")
    result = [class_name(table.get(index, f'class {index}'), where)
              for index in range(max(table) + 1)]
    _check_count(values.get('nc'), table, path)
    return result


def _names_of_text(text: str, values: Dict[str, Any], path: Path) -> Any:
    """Return what a plain text for ``names`` means: a list, a file, or the one class."""
    import yaml
    stripped = text.strip()
    if stripped[:1] in ('[', '{'):  # a list in quotes
        try:
            return yaml.load(stripped, Loader=yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError):
            raise DataError(f"'{path}': names cannot be understood: {_HOW}") from None
    if not stripped:
        return None
    try:
        beside = path.parent / stripped
        if '\0' not in stripped and len(stripped) < 200 and beside.is_file():
            return read_names(beside) if beside != path else None
    except OSError:
        pass
    lines = [line.strip(' \t-,') for line in stripped.splitlines() if line.strip(' \t-,')]
    if len(lines) > 1:  # a block of lines
        return lines
    parts = [part.strip() for part in stripped.split(',')]
    for other in (stripped.split(';'), stripped.split()):
        if len(parts) == 1 < len(other) == number_of(values.get('nc')):
            parts = [part.strip() for part in other]
    if len(parts) > 1 and number_of(values.get('nc')) not in (None, '', 1, len(parts)):
        raise DataError(f"'{path}': names is one text with {len(parts)} parts but nc is "
                        f'{values["nc"]}: {_HOW}')
    return [stripped] if number_of(values.get('nc')) == 1 else [part for part in parts if part]


def _merged(items: List[dict], path: Path) -> Dict[Any, Any]:
    """Return one mapping of ``[{0: a}, {1: b}]`` or ``[{id: 0, name: a}, ...]``."""
    table: Dict[Any, Any] = {}
    for index, item in enumerate(items):
        if 'name' in item:
            table[str(item.get('id', index))] = item['name']
        else:
            table.update(item)
    return table


def _by_number(names: Dict[Any, Any], path: Path) -> Dict[int, str]:
    """Return names by number; the mapping may be from number to name or the other way."""
    numbers = [number_of(key) for key in names]
    if not all(isinstance(n, int) for n in numbers):
        turned = [number_of(value) for value in names.values()]
        if not all(isinstance(n, int) for n in turned):
            raise DataError(f"'{path}': names is neither a list nor a mapping of numbers: {_HOW}")
        numbers, values = turned, list(names)
    else:
        values = list(names.values())
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise DataError(f"'{path}': the numbers of names must be 0, 1, 2, ..., each once: {_HOW}")
    return {n: class_name(v, f"'{path}': name {n}") for n, v in zip(numbers, values)}


def _check_count(stated: Any, table: Dict[int, str], path: Path) -> None:
    count: Optional[Any] = number_of(stated)
    if count in (None, '') or count in (len(table), max(table) + 1):
        return
    if not isinstance(count, int):
        raise DataError(f"'{path}': nc must be the number of classes, got {str(stated)[:40]!r}")
    raise DataError(f"'{path}' says nc: {count} but names {len(table)} classes")


def pose_category(values: Dict[str, Any], path: Path) -> Dict[str, Any]:
    """Return what a description says of key points, as entries of a COCO category.

    Args:
        values (dict): From :func:`read_yaml`: ``kpt_names`` (a list, or a mapping of the
            class to a list), ``flip_idx``, ``skeleton``.
        path (Path): The file, for messages.

    Returns:
        dict: ``keypoints``, ``flip_idx``, ``skeleton``, those that there are.
    """
    found: Dict[str, Any] = {}
    for key in ('kpt_names', 'keypoint_names', 'keypoints'):
        names = values.get(key)
        if isinstance(names, dict) and names and all(
                isinstance(item, (list, tuple)) for item in names.values()):
            names = next(iter(names.values()))
        elif isinstance(names, dict):
            names = list(_by_number(names, path).values()) if names else None
        elif isinstance(names, str):
            names = [name.strip() for name in names.strip(' []').split(',') if name.strip()]
        if names:
            found['keypoints'] = list(names)
            break
    for key in ('flip_idx', 'skeleton'):
        if values.get(key):
            value = values[key]
            found[key] = value.strip(' []').split(',') if isinstance(value, str) else value
    return found
