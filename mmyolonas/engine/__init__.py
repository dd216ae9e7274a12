"""Hooks, averaged models, model and optimizer wrappers for training."""
from . import hooks, model_wrappers, optimizers
from .mlflow_backend import NamedMLflowVisBackend
from .scheduled_ema import ScheduledEMA

__all__ = ['NamedMLflowVisBackend', 'ScheduledEMA', 'hooks', 'model_wrappers', 'optimizers']
