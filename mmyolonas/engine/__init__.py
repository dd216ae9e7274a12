"""Hooks, averaged models, model and optimizer wrappers for training."""
from . import hooks, model_wrappers, optimizers
from .scheduled_ema import ScheduledEMA

__all__ = ['ScheduledEMA', 'hooks', 'model_wrappers', 'optimizers']
