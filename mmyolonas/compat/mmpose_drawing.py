"""Repair for how mmpose draws key points."""
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

from mmyolonas.compat.core import has_module, repair

_MODULE = 'mmpose.visualization.opencv_backend_visualizer'


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


@repair('mmpose key points', 'mmpose 1.3.2 with numpy >= 2.4')
def _draw_circles_of_one_radius() -> str | None:
    """Let mmpose draw key points: it converts an array of one radius by int()."""
    import numpy as np
    if not has_module('mmpose'):
        return None
    try:
        int(np.array([1]))
        return None
    except TypeError:
        pass
    if _MODULE in sys.modules:
        _accept_arrays(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _PatchingFinder(_MODULE, _accept_arrays))
    return 'int() no longer takes an array of one number, which the radius of a key point is'


def _accept_arrays(module: ModuleType) -> None:
    visualizer = module.OpencvBackendVisualizer
    original = visualizer.draw_circles

    def draw_circles(self, center, radius, *args, **kwargs):
        if self.backend == 'opencv':
            import numpy as np
            radius = np.asarray(radius).reshape(-1)[0]
        return original(self, center, radius, *args, **kwargs)

    draw_circles.__doc__ = original.__doc__
    visualizer.draw_circles = draw_circles
