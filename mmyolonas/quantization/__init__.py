"""8-bit models that keep their accuracy.

What is quantised, where quantise and dequantise steps stand for each runtime,
which layers stay float and why, and training that takes 8 bit into account.
"""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'Dataflow': '.graph.dataflow',
    'Group': '.graph.groups',
    'QuantizedModel': '.ranges.quantizers',
    'RangeTable': '.table',
    'Selection': '.graph.selection',
    'analyse': '.graph.dataflow',
    'calibrate': '.ranges.calibration',
    'count_pairs': '.graph.qdq',
    'default_layers': '.graph.groups',
    'find_groups': '.graph.groups',
    'fuse_model': 'mmyolonas.export.fusion',
    'insert_qdq': '.graph.qdq',
    'quantise_model': '.ranges.quantizers',
    'select': '.graph.selection',
})
