"""From a trained model to files that run elsewhere.

Importing this package is light: no torch, no mmdeploy. The functions below are
loaded when they are first asked for; the part that mmdeploy imports is
``mmyolonas.deploy.codebase``.
"""
from importlib import import_module
from typing import Any, List

_WHERE = {
    'EngineInfo': 'tensorrt_builder',
    'EngineOptions': 'tensorrt_builder',
    'ExportReport': 'export',
    'ModelMetadata': 'metadata',
    'Postprocess': 'metadata',
    'Preprocess': 'metadata',
    'TensorRTApi': 'tensorrt_api',
    'build_engine': 'tensorrt_builder',
    'convert_fp16': 'precision',
    'convert_openvino': 'openvino_ir',
    'export_onnx': 'export',
    'export_checkpoint': 'pipeline',
    'fold_shortcut_scales': 'fusion',
    'get_metadata': 'onnx_passes',
    'metadata_from_config': 'config_metadata',
    'open_session': 'sessions',
    'prepare_model': 'fusion',
    'simplify': 'onnx_passes',
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_WHERE[name]}'), name)


def __dir__() -> List[str]:
    return [*globals(), *__all__]
