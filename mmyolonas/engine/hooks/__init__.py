"""Hooks."""
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .checkpoint_match_hook import CheckpointMatchHook
from .epoch_seed_hook import EpochSeedHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .progress_logger_hook import ProgressLoggerHook
from .scheduled_ema_hook import ScheduledEMAHook

__all__ = [
    'AtomicCheckpointHook', 'CheckpointMatchHook', 'EpochSeedHook', 'NonFiniteLossHook',
    'ProgressLoggerHook', 'ScheduledEMAHook'
]
