"""The exported network: fused model, decoding and suppression as torch modules."""
from .candidates import Candidates, DetectionCandidates, PoseCandidates
from .exported import ExportedDetector, build_exported
from .nms import EfficientNMS, PaddedNMS

__all__ = [
    'Candidates', 'DetectionCandidates', 'EfficientNMS', 'ExportedDetector', 'PaddedNMS',
    'PoseCandidates', 'build_exported'
]
