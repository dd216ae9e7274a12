"""8-bit models that keep their accuracy.

What is quantised, where quantise and dequantise steps stand for each runtime,
which layers stay float and why, and training that takes 8 bit into account.
The functions are loaded when they are first asked for.
"""
from importlib import import_module
from typing import Any, List

_WHERE = {
    'Dataflow': 'dataflow',
    'Group': 'groups',
    'QuantizedModel': 'quantizers',
    'RangeTable': 'table',
    'Selection': 'selection',
    'analyse': 'dataflow',
    'calibrate': 'calibration',
    'count_pairs': 'qdq',
    'default_layers': 'groups',
    'find_groups': 'groups',
    'fuse_model': 'fuse',
    'insert_qdq': 'qdq',
    'quantise_model': 'quantizers',
    'select': 'selection',
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_WHERE[name]}'), name)


def __dir__() -> List[str]:
    return [*globals(), *__all__]
