"""Hooks."""
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .checkpoint_match_hook import CheckpointMatchHook
from .close_augmentation_hook import CloseAugmentationHook
from .distillation_hook import DistillationHook
from .epoch_seed_hook import EpochSeedHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .patience_hook import PatienceHook
from .progress_logger_hook import ProgressLoggerHook
from .resume_hook import ResumeHook
from .scheduled_ema_hook import ScheduledEMAHook
from .snapshot_average_hook import SnapshotAverageHook

__all__ = [
    'AtomicCheckpointHook', 'CheckpointMatchHook', 'CloseAugmentationHook', 'DistillationHook',
    'EpochSeedHook', 'NonFiniteLossHook', 'PatienceHook', 'ProgressLoggerHook', 'ResumeHook',
    'ScheduledEMAHook', 'SnapshotAverageHook'
]
