"""Training curves from what mmengine writes."""
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import PathLike
from mmyolonas.utils.journal import read_lines

Series = Dict[str, Tuple[List[float], List[float]]]


@dataclass
class TrainingLog:
    """Scalars of a training, of all its parts if it was resumed.

    Args:
        train: By name, (iterations, values): losses, ``lr``, ``time`` ...
        val: By name, (epochs, values): metrics.
    """
    train: Series = field(default_factory=dict)
    val: Series = field(default_factory=dict)


def read_log(work_dir: PathLike) -> TrainingLog:
    """Read ``*/vis_data/scalars.json`` of a work folder.

    Each start of a training writes a folder of its own. What a resumed part
    repeats replaces what an interrupted part had written.

    Args:
        work_dir (str | Path): Work folder, or one ``scalars.json``.

    Raises:
        UserError: There is no log, or nothing in it.
    """
    path = Path(work_dir)
    files = [path] if path.is_file() else sorted(path.glob('*/vis_data/scalars.json'))
    if not files:
        raise UserError(f'{path} holds no training log (*/vis_data/scalars.json); give the work '
                        'folder of a training.')
    train: Dict[str, Dict[float, float]] = defaultdict(dict)
    val: Dict[str, Dict[float, float]] = defaultdict(dict)
    for file in files:
        for record in read_lines((file.read_bytes() + b'\n').splitlines(keepends=True)):
            step = record.pop('step', None) if isinstance(record, dict) else None
            if not _is_number(step):
                continue
            # training lines count iterations, evaluation lines epochs
            target = train if 'iter' in record and 'loss' in record else val
            for name, value in record.items():
                if _is_number(value) and name not in ('iter', 'epoch'):
                    target[name][step] = value
    log = TrainingLog(_sorted(train), _sorted(val))
    if not log.train and not log.val:
        raise UserError(f'{path} holds no number of a training: it has just begun, or the file is '
                        'another one or damaged.')
    return log


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sorted(points: Dict[str, Dict[float, float]]) -> Series:
    return {name: tuple(map(list, zip(*sorted(values.items()))))
            for name, values in points.items() if values}


def plot_curves(logs: Dict[str, TrainingLog],
                path: PathLike,
                metrics: Optional[Sequence[str]] = None,
                title: Optional[str] = None) -> None:
    """Draw losses, learning rate and metrics of one or more trainings.

    Args:
        logs (dict): Logs by the name for the legend.
        path (str | Path): Picture to write (``.png``, ``.svg``, ``.pdf``).
        metrics (Sequence[str], optional): Metrics to draw; by default those
            whose name ends in mAP, mAP_50, AP or AP50, else all.
        title (str, optional): Title of the picture.

    Raises:
        UserError: A metric is not in the logs.
    """
    from matplotlib.figure import Figure
    figure = Figure(figsize=(13, 4), layout='constrained')
    losses, rates, scores = figure.subplots(1, 3)
    for label, log in logs.items():
        prefix = f'{label}: ' if len(logs) > 1 else ''
        for name, (x, y) in log.train.items():
            if name.startswith('loss'):
                losses.plot(x, y, label=prefix + name, linewidth=2 if name == 'loss' else 1)
        if 'lr' in log.train:
            rates.plot(*log.train['lr'], label=prefix + 'lr')
        for name in _chosen(log, metrics):
            x, y = log.val[name]
            scores.plot(x, y, marker='o', markersize=3, label=prefix + name)
    for axes, name, unit in ((losses, 'loss', 'iteration'), (rates, 'learning rate', 'iteration'),
                             (scores, 'validation', 'epoch')):
        axes.set(title=name, xlabel=unit)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    losses.set_ylim(bottom=0)
    if title:
        figure.suptitle(title)
    write_figure(path, figure, 110)


def _chosen(log: TrainingLog, metrics: Optional[Sequence[str]]) -> List[str]:
    if metrics is not None:
        missing = [name for name in metrics if name not in log.val]
        if missing:
            raise UserError(f'the log has no metric {", ".join(missing)}; it has '
                            f'{", ".join(log.val) or "none"}.')
        return list(metrics)
    usual = [name for name in log.val if name.endswith(('mAP', 'mAP_50', 'AP', 'AP50', 'PCK'))]
    return usual or [name for name in log.val if 'time' not in name]
