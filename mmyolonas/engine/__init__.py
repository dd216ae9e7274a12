"""Hooks, averaged models and optimizer wrappers for training."""
from . import hooks, optimizers
from .scheduled_ema import ScheduledEMA

__all__ = ['ScheduledEMA', 'hooks', 'optimizers']
