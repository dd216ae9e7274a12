"""Hooks."""
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .checkpoint_match_hook import CheckpointMatchHook
from .distillation_hook import DistillationHook
from .epoch_seed_hook import EpochSeedHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .progress_logger_hook import ProgressLoggerHook
from .resume_hook import ResumeHook
from .scheduled_ema_hook import ScheduledEMAHook
from .snapshot_average_hook import SnapshotAverageHook

__all__ = [
    'AtomicCheckpointHook', 'CheckpointMatchHook', 'DistillationHook', 'EpochSeedHook',
    'NonFiniteLossHook', 'ProgressLoggerHook', 'ResumeHook', 'ScheduledEMAHook',
    'SnapshotAverageHook'
]
