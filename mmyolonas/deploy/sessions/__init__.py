"""Running exported models: one small interface, one file per runtime. No torch."""
from .base import Session, TensorInfo
from .factory import open_session

__all__ = ['Session', 'TensorInfo', 'open_session']
