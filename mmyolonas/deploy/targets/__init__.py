"""Further runtimes, by converters that others maintain: one short recipe for each.

A converter runs in a process of its own (``python -m mmyolonas.deploy.targets JOB``), in this
environment or, where its requirements clash with it, in another one's interpreter
(``backend_config.python``, ``tools/deploy.py --converter-python``). The recipes
therefore import neither torch nor OpenMMLab unless their converter does.
"""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'TARGETS': '.table',
    'convert_target': '.driver',
})
