"""Pictures of a detector's strengths and mistakes."""
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Union

import numpy as np

from mmyolonas.utils.figures import write_figure

from .data_report import write_picture
from .drawing import draw_boxes
from .grid import make_grid
from .palette import make_palette

if TYPE_CHECKING:
    from mmyolonas.datasets.formats.coco_split import CocoSplit
    from mmyolonas.datasets.inspection.box_table import BoxTable
    from mmyolonas.evaluation.detection_report import DetectionReport
    from mmyolonas.evaluation.mistakes import Mistake
    from mmyolonas.evaluation.pose_report import PoseReport

_GRID = 12
_MAX_NAMED = 40  # classes whose names and numbers still fit
_TRUTH, _FOUND = (60, 170, 60), (40, 40, 220)  # BGR: green, red


def draw_evaluation(report: 'DetectionReport', split: 'CocoSplit', table: 'BoxTable',
                    detections: List[Dict[str, Any]], classes: Sequence[str],
                    folder: Path) -> List[Path]:
    """Draw a report on a detector.

    Args:
        report (DetectionReport): The report.
        split (CocoSplit): The part it is of.
        table (BoxTable): The part's boxes.
        detections (list[dict]): See ``evaluate_detections``.
        classes (Sequence[str]): Class names.
        folder (Path): Folder for ``confusion.png``, ``threshold.png``,
            ``classes.png``, ``predictions.png`` and, if there are any,
            ``mistakes.png``.

    Returns:
        list[Path]: The pictures.
    """
    folder = Path(folder)
    paths = [draw_confusion(report.confusion, classes, folder / 'confusion.png'),
             draw_threshold(report, folder / 'threshold.png'),
             draw_classes(report, folder / 'classes.png'),
             _draw_predictions(report, split, table, detections, classes,
                               folder / 'predictions.png')]
    mistakes = report.mistakes[:_GRID]
    if mistakes:
        cells = [_mistake(mistake, split, table, classes) for mistake in mistakes]
        titles = [mistake.title(classes) for mistake in mistakes]
        paths.append(write_picture(folder / 'mistakes.png', make_grid(cells, 4, titles=titles)))
    return paths


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], path: Path) -> Path:
    """Draw which class is taken for which.

    Args:
        confusion (ndarray): (C + 1, C + 1) counts, true class by predicted
            class, "nothing" last.
        classes (Sequence[str]): C names.
        path (Path): Picture to write.
    """
    from matplotlib.figure import Figure
    count = len(confusion)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(18, 4 + 0.5 * count)
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label='share of the row')
    if count <= _MAX_NAMED:
        names = [*(name[:20] for name in classes), 'nothing']
        axes.set_xticks(range(count), names, rotation=60, ha='right', fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
        for row, column in zip(*np.nonzero(confusion)):
            axes.text(column, row, confusion[row, column], ha='center', va='center', fontsize=7,
                      color='white' if share[row, column] > 0.5 else 'black')
    axes.set(xlabel='predicted (last column: missed)', ylabel='labelled (last row: nothing there)',
             title='what is taken for what')
    return _save(figure, path)


def draw_threshold(report: Union['DetectionReport', 'PoseReport'], path: Path,
                   overlap: str = 'all classes together, IoU 0.5') -> Path:
    """Draw precision, recall and F1 over the score threshold, and precision over recall."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    curve = report.curve
    for name, values in (('precision', curve.precision), ('recall', curve.recall),
                         ('F1', curve.f1)):
        left.plot(curve.thresholds, values, label=name)
    left.axvline(report.threshold, color='grey', linestyle='--',
                 label=f'{report.threshold:.2f}: F1 {report.f1:.2f}')
    left.set(xlabel='score threshold', title=overlap, xlim=(0, 1))
    right.plot(curve.recall, curve.precision)
    right.plot(report.recall, report.precision, 'o', color='grey',
               label=f'at {report.threshold:.2f}: precision {report.precision:.2f}, recall '
               f'{report.recall:.2f}')
    right.set(xlabel='recall', ylabel='precision', title='precision and recall', xlim=(0, 1.02))
    for axes in (left, right):
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _save(figure, path)


def draw_classes(report: 'DetectionReport', path: Path) -> Path:
    """Draw the average precision of each class, the best first."""
    from matplotlib.figure import Figure
    rows = sorted((row for row in report.classes if row.ap == row.ap), key=lambda row: -row.ap)
    figure = Figure(figsize=(9, max(2.5, 0.25 * len(rows) + 1.5)), layout='constrained')
    axes = figure.subplots()
    places = np.arange(len(rows))
    axes.barh(places - 0.2, [row.ap for row in rows], 0.4, label='AP')
    axes.barh(places + 0.2, [row.ap50 for row in rows], 0.4, label='AP50', alpha=0.6)
    axes.set_yticks(places, [f'{row.name[:24]} ({row.objects})' for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=f'{report.split}: AP {report.ap:.3f}, AP50 {report.ap50:.3f}',
             xlabel='average precision (number of objects behind the name)')
    axes.grid(alpha=0.3, axis='x')
    axes.legend(fontsize=8)
    return _save(figure, path)


def _save(figure, path: Path) -> Path:
    write_figure(path, figure, 110)
    return path


def _draw_predictions(report, split, table, detections, classes, path: Path) -> Path:
    """Draw labels beside predictions for images spread over the part."""
    from mmyolonas.utils.images import read_image
    palette = make_palette(len(classes))
    count = len(split.data['images'])
    pictures, titles = [], []
    for index in sorted({int(i) for i in np.linspace(0, count - 1, min(_GRID // 2, count))}):
        image, rows = read_image(split.paths[index]), table.of_image(index)
        pictures.append(draw_boxes(image.copy(), table.boxes[rows], table.labels[rows],
                                   classes=classes, palette=palette))
        kept = [d for d in detections if d['image_id'] == split.data['images'][index]['id']
                and d['score'] >= report.threshold]
        boxes = np.array([d['bbox'] for d in kept], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        pictures.append(draw_boxes(image, boxes, [d['label'] for d in kept],
                                   [d['score'] for d in kept], classes, palette))
        titles += ['labels', 'predictions']
    return write_picture(path, make_grid(pictures, 4, titles=titles))


def _mistake(mistake: 'Mistake', split, table, classes: Sequence[str]) -> np.ndarray:
    """Return the surroundings of a mistake: labels in green, the mistake in red."""
    from mmyolonas.utils.images import read_image
    image = read_image(split.paths[mistake.image])
    x1, y1, x2, y2 = mistake.box
    half = max(24., 1.2 * max(x2 - x1, y2 - y1))
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = (int(max(0, c - half)) for c in centre)
    right, bottom = (int(min(limit, c + half + 1))
                     for c, limit in zip(centre, image.shape[1::-1]))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    # enlarged before drawing, so that lines and letters stay thin
    zoom = max(1., 320 / max(part.shape[:2]))
    if zoom > 1:
        import cv2
        part = cv2.resize(part, None, fx=zoom, fy=zoom)
    shift = np.array([left, top, left, top])
    rows = table.of_image(mistake.image)
    truth = [_TRUTH] * max(1, len(classes))
    part = draw_boxes(part, (table.boxes[rows] - shift) * zoom, table.labels[rows],
                      classes=classes, palette=truth)
    label = mistake.truth if mistake.predicted is None else mistake.predicted
    name = f'missed {classes[label]}' if mistake.predicted is None else f'as {classes[label]}'
    return draw_boxes(part, (mistake.box[None] - shift) * zoom, [0], classes=[name],
                      palette=[_FOUND])
