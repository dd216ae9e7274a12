"""What a notebook imports. Light: the parts are loaded when they are asked for."""
from importlib import import_module
from typing import Any, List

_WHERE = {
    'FinetuneOptions': 'finetune_settings',
    'Finetuning': 'finetuning',
    'finetune': 'finetuning',
    'InferenceOptions': 'inference',
    'Prediction': 'prediction',
    'Predictor': 'inference',
    'PseudoLabelOptions': 'pseudo_labels',
    'PseudoLabeller': 'pseudo_labels',
    'Runtime': 'runtime',
    'RuntimeResult': 'runtime',
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_WHERE[name]}'), name)


def __dir__() -> List[str]:
    return [*globals(), *__all__]
