"""Charts of benchmarks/supernet.py."""
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np

from mmyolonas.utils.figures import write_figure

_THIRDS = (('fast', 'tab:green'), ('middle', 'tab:blue'), ('slow', 'tab:orange'))
_SIDES = {'supernet': ('tab:blue', 'o'), 'random search': ('tab:orange', 's'),
          'published S': ('black', '*')}


def plot_ranks(own: np.ndarray, alone: np.ndarray, groups: np.ndarray, path: Path) -> None:
    """Draw AP after training alone against inherited AP; bars are the range over seeds.

    Args:
        own (np.ndarray): Inherited AP of each supernet, shape (R, N).
        alone (np.ndarray): AP of the trainings, shape (seeds, N).
        groups (np.ndarray): Third of measured latency of each architecture, shape (N, ).
        path (Path): Picture to write.
    """
    figure, axes = _axes(5.5, 4.5)
    for third, (name, colour) in enumerate(_THIRDS):
        chosen = groups == third
        x, y = own[:, chosen], alone[:, chosen]
        axes.errorbar(x.mean(0), y.mean(0), xerr=_range(x), yerr=_range(y), fmt='o',
                      color=colour, markersize=4, elinewidth=0.6, label=f'{name} third')
    axes.set(xlabel=f'AP with inherited weights, mean of {len(own)} supernets',
             ylabel=f'AP after training alone, mean of {len(alone)} seeds')
    _finish(figure, axes, path)


def plot_frontier(sides: Dict[str, Sequence[str]], aps: Dict[str, List[float]],
                  times: Dict[str, float], unit: str, path: Path) -> None:
    """Draw AP after training against median latency; bars are the range over seeds.

    Args:
        sides (dict): Keys of the networks of each side.
        aps (dict): AP of each training by key.
        times (dict): Median ms by key.
        unit (str): What the latency is of.
        path (Path): Picture to write.
    """
    figure, axes = _axes(6, 4.5)
    for name, keys in sides.items():
        colour, marker = _SIDES[name]
        keys = sorted(keys, key=times.__getitem__)
        values = np.array([aps[key] for key in keys]).T
        axes.errorbar([times[key] for key in keys], values.mean(0), yerr=_range(values),
                      fmt=marker, color=colour, markersize=6, elinewidth=1, label=name,
                      linestyle='-' if len(keys) > 1 else '')
    axes.set(xlabel=f'median ms, {unit}', ylabel='AP after training')
    _finish(figure, axes, path)


def _axes(width: float, height: float) -> Any:
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots()


def _range(values: np.ndarray) -> np.ndarray:
    mean = values.mean(0)
    return np.stack([mean - values.min(0), values.max(0) - mean])


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    write_figure(path, figure, 120)
