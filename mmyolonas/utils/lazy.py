"""Packages whose parts are loaded when they are first asked for."""
from importlib import import_module
from typing import Any, Callable, Dict, List, Tuple


def lazy_names(package: str, where: Dict[str, str]
               ) -> Tuple[Callable[[str], Any], Callable[[], List[str]], List[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package (PEP 562).

    Args:
        package (str): ``__name__`` of the package.
        where (dict[str, str]): The module of each public name: relative to the
            package if it begins with a dot.
    """

    def get_attribute(name: str) -> Any:
        if name not in where:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(import_module(where[name], package), name)

    names = sorted(where)
    return get_attribute, lambda: names, names
