"""Checkpoints of other projects, there and back."""
from .pose_start import pose_start_weights
from .report import ConversionReport
from .supergradients import from_supergradients, to_supergradients

__all__ = ['ConversionReport', 'from_supergradients', 'pose_start_weights', 'to_supergradients']
