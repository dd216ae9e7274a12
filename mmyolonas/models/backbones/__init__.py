from .yolonas_backbone import YOLONASBackbone

__all__ = ['YOLONASBackbone']
