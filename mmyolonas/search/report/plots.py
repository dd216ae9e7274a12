"""Charts of a search."""
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from mmyolonas.search.accuracy.evaluation import Point
from mmyolonas.search.accuracy.rungs import Rung
from mmyolonas.search.study.frontier import frontier
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import PathLike

_COLOURS = dict(nsga2='tab:blue', random='tab:orange')
_NAMES = dict(nsga2='NSGA-II', random='random search')
_KINDS = {'base line': 'tab:gray', 'score': 'tab:orange', 'model': 'tab:blue'}


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout='constrained')


def _write(figure: Any, path: PathLike) -> None:
    write_figure(path, figure, 120)


def plot_rungs(rungs: Sequence[Rung], path: PathLike, trainings: int) -> None:
    """Draw Kendall's tau of every rung with its interval.

    Args:
        rungs (Sequence[Rung]): The rungs.
        path (str | Path): Picture to write.
        trainings (int): Number of architectures behind it.
    """
    figure = _figure(7, 1.2 + 0.35 * len(rungs))
    axes = figure.subplots()
    for place, rung in enumerate(rungs):
        axes.barh(place, rung.tau, color=_KINDS[rung.kind], alpha=1. if rung.used else 0.45)
        axes.plot([rung.low, rung.high], [place, place], color='black', linewidth=1)
    bar = max(rung.tau for rung in rungs if rung.kind == 'base line')
    axes.axvline(bar, color='tab:red', linestyle='--', linewidth=1, label='best base line')
    for kind, colour in _KINDS.items():
        axes.barh([0], [0], color=colour, label=kind)
    axes.set_yticks(range(len(rungs)), [r.name + (' (used)' if r.used else '') for r in rungs])
    axes.invert_yaxis()
    axes.set_xlabel(f"Kendall's tau with AP after training, {trainings} architectures")
    axes.grid(axis='x', alpha=0.3)
    axes.legend(fontsize=8)
    _write(figure, path)


def plot_hypervolume(steps: Sequence[int], curves: Dict[str, np.ndarray],
                     path: PathLike) -> None:
    """Draw hypervolume against the number of evaluated architectures.

    Args:
        steps (Sequence[int]): Numbers of architectures.
        curves (dict[str, ndarray]): By sampler, a row for each seed.
        path (str | Path): Picture to write.
    """
    figure = _figure(6.5, 4)
    axes = figure.subplots()
    for name, rows in curves.items():
        colour = _COLOURS.get(name, 'tab:green')
        for row in rows:
            axes.plot(steps, row, color=colour, alpha=0.35, linewidth=1)
        axes.plot(steps, np.mean(rows, 0), color=colour, linewidth=2,
                  label=f'{_NAMES.get(name, name)}, mean of {len(rows)} seeds')
    axes.set(xlabel='evaluated architectures', ylabel='hypervolume')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _write(figure, path)


def plot_points(points: Dict[str, List[Point]], published: Dict[str, Point], path: PathLike,
                unit: str, trained: Sequence[Tuple[str, float, float]] = ()) -> None:
    """Draw accuracy against latency: all points, the frontier, the published models.

    Args:
        points (dict[str, list[Point]]): By sampler.
        published (dict[str, Point]): Published models by name.
        path (str | Path): Picture to write.
        unit (str): What the latency is of.
        trained (Sequence[tuple]): Name, latency and AP of what was trained.
    """
    figure = _figure(7.5, 5)
    axes = figure.subplots()
    for name, found in points.items():
        colour = _COLOURS.get(name, 'tab:green')
        axes.plot([p.latency for p in found], [p.accuracy for p in found], '.', markersize=3,
                  color=colour, alpha=0.35)
        best = frontier(found)
        axes.step([p.latency for p in best], [p.accuracy for p in best], where='post',
                  color=colour, label=f'{_NAMES.get(name, name)}, frontier (predicted)')
    for name, point in published.items():
        axes.plot(point.latency, point.accuracy, 's', color='tab:red')
        axes.annotate(f' YOLO-NAS {name.upper()}', (point.latency, point.accuracy), fontsize=8)
    for index, (name, latency, ap) in enumerate(trained):
        axes.plot(latency, ap, '*', markersize=11, color='black',
                  label='trained by the recipe' if index == 0 else None)
        axes.annotate(f' {name}', (latency, ap), fontsize=8)
    slowest = max(point.latency for point in published.values())
    axes.set(xlabel=f'latency, ms ({unit})', ylabel='AP after a short training',
             xlim=(0, 1.1 * slowest))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _write(figure, path)


def plot_targets(fronts: Dict[str, List[Point]], path: PathLike) -> None:
    """Draw the frontiers of several targets, latency relative to each one's S.

    Args:
        fronts (dict[str, list[Point]]): By target; latencies already relative.
        path (str | Path): Picture to write.
    """
    figure = _figure(6.5, 4)
    axes = figure.subplots()
    for name, found in fronts.items():
        axes.step([p.latency for p in found], [p.accuracy for p in found], where='post',
                  marker='o', markersize=3, label=name)
    axes.set(xlabel='latency over that of YOLO-NAS S on the same target', ylabel='predicted AP')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _write(figure, path)
