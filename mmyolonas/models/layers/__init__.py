from .conv import ConvNormAct
from .csp_layer import YOLONASBottleneck, YOLONASCSPLayer
from .feature_adapters import FeatureAdapters
from .qarepvgg import QARepVGGBlock, fuse_blocks
from .spp import SPPBottleneck

__all__ = [
    'ConvNormAct', 'FeatureAdapters', 'QARepVGGBlock', 'SPPBottleneck', 'YOLONASBottleneck',
    'YOLONASCSPLayer', 'fuse_blocks'
]
