from .conv import ConvNormAct
from .csp_layer import YOLONASBottleneck, YOLONASCSPLayer
from .qarepvgg import QARepVGGBlock
from .spp import SPPBottleneck

__all__ = [
    'ConvNormAct', 'QARepVGGBlock', 'SPPBottleneck', 'YOLONASBottleneck', 'YOLONASCSPLayer'
]
