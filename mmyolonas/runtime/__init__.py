"""Running exported files: sessions, profiles, timing, pre- and post-processing. Never torch."""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'Runtime': '.runtime',
    'RuntimeResult': '.result',
    'Session': '.base',
    'TensorInfo': '.base',
    'convert_openvino': '.openvino_ir',
    'open_session': '.factory',
})
