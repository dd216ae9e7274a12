"""YOLO-NAS for MMDetection and MMPose."""
from mmyolonas import compat
from mmyolonas.version import __version__

compat.setup()

__all__ = ['__version__', 'compat']
