from .yolonas import YOLONAS

__all__ = ['YOLONAS']
