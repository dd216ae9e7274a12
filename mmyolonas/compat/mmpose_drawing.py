"""Repair for how mmpose draws key points."""
from types import ModuleType

from mmyolonas.compat.core import after_import, has_module, repair

_MODULE = 'mmpose.visualization.opencv_backend_visualizer'


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
    after_import(_MODULE, _accept_arrays)
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
