from .yolonas_head import YOLONASHead, YOLONASHeadLevel

__all__ = ['YOLONASHead', 'YOLONASHeadLevel']
