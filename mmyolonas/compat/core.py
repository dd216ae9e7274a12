"""How repairs are registered, tried once and recorded.

Stand-in modules come from a finder at the *end* of ``sys.meta_path``, so that
a module which is really installed always wins, also one installed later.
"""
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass
class Repair:
    """What became of one repair.

    Args:
        name: The thing that is repaired.
        versions: The versions of other packages that need it.
        status: 'applied', 'not needed' or 'failed'.
        why: The reason, for people.
    """
    name: str
    versions: str
    status: str = 'not needed'
    why: str = ''


_RECORD: dict[str, Repair] = {}
_REPAIRS: list[tuple[str, str, Callable[[], str | None]]] = []
_STAND_INS: dict[str, Callable[[ModuleType], None]] = {}


class _StandInFinder(importlib.abc.MetaPathFinder):
    """Offers stand-ins for modules that nothing else could find."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None):
        if name not in _STAND_INS:
            return None
        return importlib.machinery.ModuleSpec(
            name, _StandInLoader(), origin='mmyolonas.compat')


class _StandInLoader(importlib.abc.Loader):

    @staticmethod
    def create_module(spec) -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        _STAND_INS[module.__spec__.name](module)


def offer(name: str, fill: Callable[[ModuleType], None]) -> None:
    """Offer a stand-in for module ``name``, filled by ``fill(module)``."""
    _STAND_INS[name] = fill
    if not any(f is _StandInFinder for f in sys.meta_path):
        sys.meta_path.append(_StandInFinder)


class _PatchingFinder(importlib.abc.MetaPathFinder):
    """Runs a function on one module right after it was imported."""

    def __init__(self, name: str, patch: Callable[[ModuleType], None]) -> None:
        self.name = name
        self.patch = patch
        self.busy = False

    def find_spec(self, name, path=None, target=None):
        if name != self.name or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.patch(module)

            spec.loader.exec_module = exec_module
        return spec


def after_import(name: str, patch: Callable[[ModuleType], None]) -> None:
    """Call ``patch(module)`` on module ``name``: now, or as soon as something imports it."""
    if name in sys.modules:
        patch(sys.modules[name])
    else:
        sys.meta_path.insert(0, _PatchingFinder(name, patch))


def repair(name: str, versions: str):
    """Register a repair that :func:`setup` tries."""

    def register(function: Callable[[], str | None]):
        _REPAIRS.append((name, versions, function))
        return function

    return register


def run(name: str, versions: str, function: Callable[[], str | None]) -> None:
    """Try one repair, unless it was tried before, and record what became of it."""
    if name in _RECORD:
        return
    record = _RECORD[name] = Repair(name, versions)
    try:
        why = function()
    except Exception as error:  # a repair must never break the import
        record.status, record.why = 'failed', f'{error}'
        warnings.warn(
            f'mmyolonas could not repair {name} ({error}); '
            'see `python -m mmyolonas.doctor`',
            stacklevel=2)
    else:
        if why:
            record.status, record.why = 'applied', why


def setup() -> None:
    """Apply every repair that this environment needs; once per process."""
    for name, versions, function in _REPAIRS:
        run(name, versions, function)


def repairs() -> list[Repair]:
    """What :func:`setup` did, one entry for each repair, in order."""
    return list(_RECORD.values())


def has_module(name: str) -> bool:
    """Whether a real module (no stand-in) exists; nothing is imported."""
    path, parts = None, name.split('.')
    for end in range(1, len(parts) + 1):
        spec = _find_real('.'.join(parts[:end]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


def _find_real(name: str, path: Any):
    for finder in sys.meta_path:
        if finder is not _StandInFinder and hasattr(finder, 'find_spec'):
            spec = finder.find_spec(name, path)
            if spec is not None:
                return spec
    return None
