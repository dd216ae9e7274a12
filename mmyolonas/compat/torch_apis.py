"""Repairs for defaults of torch that changed under mmengine and mmdeploy."""
import functools
import importlib
import inspect
import io
import pickle
from collections.abc import Callable
from typing import Any

from mmyolonas.compat.core import has_module, repair, run


@repair('torch.load', 'torch >= 2.6 with mmengine <= 0.10.7')
def _allow_mmengine_checkpoints() -> str | None:
    """Let the safe ``torch.load`` read what mmengine writes, and no more."""
    if not (has_module('mmengine') and has_module('torch')):
        return None

    import torch
    from mmengine.logging import HistoryBuffer
    if not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        return None  # torch < 2.6 loads anything unless told otherwise
    buffer = io.BytesIO()
    torch.save(HistoryBuffer(), buffer)
    try:  # by name: OneDL's mmengine makes unsafe loading the default
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        return None
    except pickle.UnpicklingError:
        torch.serialization.add_safe_globals(checkpoint_globals())
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    return ("mmengine's checkpoints hold its log buffers, configs and numpy "
            'values; these types were allowed, loading stays safe')


def checkpoint_globals() -> list:
    """Types and functions that mmengine's checkpoints are made of."""
    import numpy as np
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer
    multiarray = importlib.import_module(
        'numpy._core.multiarray' if hasattr(np, '_core') else
        'numpy.core.multiarray')

    def history_getattr(owner: Any, name: str) -> Callable:
        # HistoryBuffer pickles its statistics as getattr(HistoryBuffer, name);
        # a free getattr would undo the safety of weights_only.
        if owner is not HistoryBuffer or name not in ('min', 'max', 'mean',
                                                      'current'):
            raise ValueError(f'refused to load getattr({owner!r}, {name!r})')
        return getattr(owner, name)

    def named(function: Callable, path: str) -> Callable:
        """The function, known to the unpickler under another name."""

        def renamed(*args):
            return function(*args)

        renamed.__module__, _, renamed.__qualname__ = path.rpartition('.')
        return renamed

    found = [HistoryBuffer, ConfigDict, np.ndarray, np.dtype, bytes]
    found.append(named(history_getattr, 'builtins.getattr'))
    for package in ('numpy.core', 'numpy._core'):
        for name in ('_reconstruct', 'scalar'):
            found.append(
                named(
                    getattr(multiarray, name), f'{package}.multiarray.{name}'))
    found.extend({type(np.dtype(code)) for code in '?bBhHiIlLqQefdgSUmM'})
    # with their names, because OneDL's mmengine allows some of these for the
    # time of a load and takes the bare ones away afterwards
    return [(item, f'{item.__module__}.{item.__qualname__}') for item in found]


def export_with_torchscript() -> None:
    """Make ``torch.onnx.export`` use its TorchScript exporter by default.

    mmdeploy's symbolics belong to that exporter, and mmdeploy 1.3.1 does not
    say so. A caller who names ``dynamo`` gets what he names. Called by
    ``import mmyolonas.deploy`` alone, so training leaves torch as it is.
    """
    run('torch.onnx.export', 'torch >= 2.9 with mmdeploy <= 1.3.1',
         _default_to_torchscript)


def _default_to_torchscript() -> str | None:
    import torch.onnx
    export = torch.onnx.export
    parameter = inspect.signature(export).parameters.get('dynamo')
    if parameter is None or not parameter.default:
        return None

    @functools.wraps(export)
    def export_torchscript(*args, **kwargs):
        if 'dynamic_shapes' not in kwargs:  # known to the new exporter alone
            kwargs.setdefault('dynamo', False)
        return export(*args, **kwargs)

    torch.onnx.export = export_torchscript
    return ('torch exports through torch.export by default, mmdeploy needs '
            'the TorchScript exporter')
