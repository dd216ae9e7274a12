"""Plots and pictures."""
from .curves import TrainingLog, plot_curves, read_log
from .drawing import draw_boxes, draw_poses
from .grid import make_grid
from .palette import make_palette

__all__ = [
    'TrainingLog', 'draw_boxes', 'draw_poses', 'make_grid', 'make_palette', 'plot_curves',
    'read_log'
]
