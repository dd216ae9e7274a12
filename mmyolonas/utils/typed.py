"""Data classes from JSON, with a look at every type and number."""
import math
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Mapping, Union, get_args, get_origin, get_type_hints

#: A JSON file of a person may write whole numbers where any are meant, not the reverse.
_PLAIN = {str: str, bool: bool, int: int, float: (int, float)}


def build(kind: type, values: Any, where: str = '', ignore: bool = False) -> Any:
    """Return a data class of plain values.

    Args:
        kind (type): The data class; its fields may be plain values, lists, tuples and
            dictionaries of them, other data classes, and optional.
        values (Any): A dictionary, or a list of the fields in order.
        where (str): Place of the values, for messages.
        ignore (bool): Whether further keys are passed over. Defaults to False.

    Returns:
        Any: The object.

    Raises:
        ValueError: A field is missing, unknown, of another type, or a number is not
            finite; the message says where.
    """
    names = [item.name for item in fields(kind)]
    if isinstance(values, (list, tuple)) and len(values) <= len(names):
        values = dict(zip(names, values))
    if not isinstance(values, Mapping):
        raise ValueError(f'{where or "it"} holds a {type(values).__name__}')
    unknown = [key for key in values if key not in names]
    if unknown and not ignore:
        raise ValueError(f'{where or "it"} has no {str(unknown[0])[:50]!r}')
    missing = [item.name for item in fields(kind) if item.name not in values
               and item.default is MISSING and item.default_factory is MISSING]
    if missing:
        raise ValueError(f'{where or "it"} lacks {missing[0]!r}')
    hints = get_type_hints(kind)
    return kind(**{name: check(hints[name], values[name], f'{where}.{name}'.lstrip('.'))
                   for name in names if name in values})


def check(hint: Any, value: Any, where: str = 'it') -> Any:
    """Return a value as a type hint says; see :func:`build`.

    Raises:
        ValueError: It is of another type.
    """
    if hint is Any:
        return value
    if is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return _any_of(inner, value, where)
    if hint is type(None):
        if value is None:
            return None
    elif hint in _PLAIN:
        if isinstance(value, _PLAIN[hint]) and isinstance(value, bool) == (hint is bool):
            if isinstance(value, (int, float)) and not math.isfinite(value):
                raise ValueError(f'{where} is {value}')
            return value
    elif origin in (dict, Mapping) or hint is dict:
        if isinstance(value, Mapping):
            key, item = inner or (Any, Any)
            return {check(key, k, where): check(item, v, f'{where}.{str(k)[:50]}')
                    for k, v in value.items()}
    elif isinstance(value, (list, tuple)):
        if origin is tuple and inner and inner[-1] is not Ellipsis:
            if len(value) != len(inner):
                raise ValueError(f'{where} has {len(value)} entries, not {len(inner)}')
            return tuple(check(part, v, where) for part, v in zip(inner, value))
        item = inner[0] if inner else Any
        return [check(item, v, f'{where}[{index}]') for index, v in enumerate(value)]
    raise ValueError(f'{where} is a {type(value).__name__}')


def _any_of(hints: tuple, value: Any, where: str) -> Any:
    reason = None
    for hint in hints:
        try:
            return check(hint, value, where)
        except ValueError as error:
            reason = reason if hint is type(None) else error
    raise reason or ValueError(f'{where} is a {type(value).__name__}')
