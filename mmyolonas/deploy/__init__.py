"""From a trained model to files that run elsewhere: mmdeploy's code base, engines, the pipeline.

Importing this package is light: no torch, no mmdeploy. The part that mmdeploy imports
is ``mmyolonas.deploy.codebase``.
"""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'EngineInfo': '.tensorrt_builder',
    'EngineOptions': '.tensorrt_builder',
    'build_engine': '.tensorrt_builder',
    'export_checkpoint': '.pipeline',
})
