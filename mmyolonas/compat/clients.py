"""Makes other packages know what mmyolonas has for them, when they are imported."""
import importlib
from types import ModuleType

from mmyolonas.compat.core import after_import, has_module, offer, repair

_TYPE, _CLASS = 'mmyolonas', 'MMYOLONASDetectionModel'


@repair("SAHI's model type mmyolonas", 'every sahi')
def _register_sahi_model() -> str | None:
    """Let ``AutoDetectionModel.from_pretrained('mmyolonas', ...)`` find our back end.

    SAHI imports ``sahi.models.TYPE`` for the types of a table of its own.
    """
    if not has_module('sahi'):
        return None
    offer(f'sahi.models.{_TYPE}', _fill)
    after_import('sahi.auto_model', _add)
    return 'it knows the types of its own table only'


def _fill(module: ModuleType) -> None:
    setattr(module, _CLASS, getattr(importlib.import_module('mmyolonas.inference.sahi_model'),
                                    _CLASS))


def _add(module: ModuleType) -> None:
    module.MODEL_TYPE_TO_MODEL_CLASS_NAME[_TYPE] = _CLASS
