"""An unpickler that knows tensors and plain data, and calls nothing else.

For :func:`torch.load` of torch < 2.6, whose ``weights_only=True`` knows neither the
types of mmengine's checkpoints nor all ways around it. Hand the module over as
``pickle_module``.
"""
import builtins
import importlib
import pickle
from functools import cache
from typing import Any, Dict

#: What the checkpoints of torch, mmengine and numpy are made of, by module.
_TENSORS = {
    'collections': ('OrderedDict', 'defaultdict'),
    'torch': ('Size', 'device'),
    'torch._utils': ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'),
    'torch.nn.parameter': ('Parameter', ),
    'torch.serialization': ('_get_layout', ),
    '_codecs': ('encode', ),
}
_BUILTINS = ('bool', 'bytearray', 'bytes', 'complex', 'dict', 'float', 'frozenset', 'int', 'list',
             'set', 'slice', 'str', 'tuple')

UnpicklingError = pickle.UnpicklingError
PickleError = pickle.PickleError
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL


@cache
def _known() -> Dict[str, Any]:
    """Return everything that may be named, by its full name."""
    import torch

    from mmyolonas.compat.torch_apis import checkpoint_globals
    known = {f'{module}.{name}': getattr(importlib.import_module(module), name)
             for module, names in _TENSORS.items() for name in names
             if hasattr(importlib.import_module(module), name)}
    known.update({f'builtins.{name}': getattr(builtins, name) for name in _BUILTINS})
    known.update({f'torch.{name}': value for name, value in vars(torch).items()
                  if isinstance(value, torch.dtype) or name.endswith('Storage')})
    known.update({name: item for item, name in checkpoint_globals()})
    # protocol 2, which torch.save uses, has the names of Python 2
    known.update({name.replace('builtins', '__builtin__', 1): item
                  for name, item in list(known.items()) if name.startswith('builtins.')})
    return known


class Unpickler(pickle.Unpickler):
    """Refuses every name that is not known."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a file names.

        Raises:
            pickle.UnpicklingError: It is not among what checkpoints are made of.
        """
        try:
            return _known()[f'{module}.{name}']
        except KeyError:
            raise pickle.UnpicklingError(f'Unsupported global: {module}.{name}') from None


def load(file: Any, **options: Any) -> Any:
    """Read one object; see :func:`pickle.load`."""
    return Unpickler(file, **options).load()
