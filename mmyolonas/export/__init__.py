"""From a model to an ONNX graph: fusing, decoding, suppression, passes, description.

Importing this package is light: no torch, no onnx.
"""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'ExportReport': '.export',
    'ModelMetadata': '.metadata',
    'Postprocess': '.metadata',
    'Preprocess': '.metadata',
    'convert_fp16': '.precision',
    'export_onnx': '.export',
    'export_program': '.program',
    'fold_shortcut_scales': '.fusion',
    'get_metadata': '.onnx_passes',
    'load_program': '.program',
    'metadata_from_config': '.config_metadata',
    'prepare_model': '.fusion',
    'simplify': '.onnx_passes',
})
