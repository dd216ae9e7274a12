from .yolonas_pan import YOLONASPAN

__all__ = ['YOLONASPAN']
