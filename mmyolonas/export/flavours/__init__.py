"""What an exported file may end with, and who reads it; the table needs neither torch nor onnx."""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'FLAVOURS': '.table',
    'Flavour': '.table',
    'build_tail': '.tails',
    'finish_flavour': '.finish',
    'flavour_of': '.table',
    'flavour_props': '.properties',
    'output_names': '.table',
    'write_deepstream_files': '.deepstream',
})
