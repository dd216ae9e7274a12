"""A report as one HTML file: nothing beside it, no network, no script."""
import base64
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.utils.files import PathLike, write_text
from mmyolonas.utils.names import printable
from mmyolonas.visualization.curves import TrainingLog
from mmyolonas.visualization.svg_chart import Line, line_chart

_TEMPLATE = 'html_report.html'
_MOST_CLASSES = 30  # of a confusion table
_QUALITY = 85


def write_html(path: PathLike, values: Dict[str, Any]) -> None:
    """Write a page from the template beside this file, atomically.

    Every text is escaped, and a policy inside the page forbids scripts and everything that
    is not in the file: names of classes and files come from data.

    Args:
        path (str | Path): The page.
        values (dict): What the template shows.
    """
    import jinja2
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value)
    text = environment.get_template(_TEMPLATE).render(values)
    # file names may hold bytes that are no text
    write_text(path, text.encode('utf-8', 'replace').decode())


def embedded(path: Path, title: str) -> Dict[str, str]:
    """Return a picture for the template: inside the page, as JPEG if that is smaller."""
    import cv2
    data, kind = path.read_bytes(), 'png'
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is not None:
        packed = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        if len(packed) < len(data):
            data, kind = packed, 'jpeg'
    return dict(title=title,
                source=f'data:image/{kind};base64,' + base64.b64encode(data).decode())


def curve_charts(log: TrainingLog, scores: Sequence[Tuple[str, str]]) -> List[Any]:
    """Return charts of losses, learning rate and validation scores.

    Args:
        log (TrainingLog): From ``read_log``.
        scores (Sequence[tuple[str, str]]): Names of scores in the log, and to show.
    """
    losses = [Line(name, *values) for name, values in log.train.items()
              if name.startswith('loss')]
    losses.sort(key=lambda line: line.name != 'loss')
    found = [Line(shown, *log.val[name], dots=True) for name, shown in scores if name in log.val]
    rate = [Line('learning rate', *log.train['lr'])] if 'lr' in log.train else []
    charts = [line_chart(found, 'validation', 'epoch'), line_chart(losses, 'loss', 'step'),
              line_chart(rate, 'learning rate', 'step')]
    return [chart for chart in charts if chart]


def threshold_charts(report: Any) -> List[Any]:
    """Return charts of precision, recall and F1 over the score, and of one over the other."""
    curve = report.curve
    return [line_chart([Line('precision', curve.thresholds, curve.precision),
                        Line('recall', curve.thresholds, curve.recall),
                        Line('F1', curve.thresholds, curve.f1)],
                       'over the score', 'score', (0, 1), report.threshold),
            line_chart([Line('precision', curve.recall, curve.precision)],
                       'precision over recall', 'recall', (0, 1), report.recall)]


def cell(value: float, digits: int = 3, bar: bool = False) -> Dict[str, Any]:
    """Return a number for the template's table, with a bar of 0 to 1 or without; '' for NaN."""
    if value != value:
        return dict(text='', share=None)
    return dict(text=f'{value:.{digits}f}' if digits else f'{value:.0f}',
                share=round(100 * min(1.0, max(0.0, value)), 1) if bar else None)


def class_table(report: Any) -> Dict[str, Any]:
    """Return the scores of each class of a ``DetectionReport``."""
    rows = [dict(name=row.name, cells=[
        cell(row.objects, 0), cell(row.ap, bar=True), cell(row.ap50), cell(row.precision),
        cell(row.recall), cell(row.f1), cell(row.best_threshold, 2)]) for row in report.classes]
    return dict(title='Average precision of each class', rows=rows, head=[
        'class', 'objects', 'AP', 'AP50', 'precision', 'recall', 'F1', 'own best score'])


def point_table(report: Any) -> Dict[str, Any]:
    """Return the scores of each key point of a ``PoseReport``."""
    rows = [dict(name=row.name, cells=[
        cell(row.labelled, 0), cell(row.pck5, bar=True), cell(row.pck10, bar=True),
        cell(row.error, 1), cell(row.sigma)]) for row in report.points]
    return dict(title='Key points', rows=rows, head=[
        'key point', 'labelled', 'within 5 % of the diagonal', 'within 10 %',
        'middle error, % of the diagonal', 'OKS constant'])


def confusion_table(report: Any, classes: Sequence[str]) -> Optional[Dict[str, Any]]:
    """Return which class is taken for which, as a table for some dozen classes, and in words.

    Args:
        report (DetectionReport): With ``confusion``.
        classes (Sequence[str]): Class names.
    """
    table = np.asarray(report.confusion)
    names = [*classes, 'nothing']
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    rows = []
    if len(classes) <= _MOST_CLASSES:
        rows = [dict(name=name, cells=[dict(count=int(count), share=round(float(part), 2))
                                       for count, part in zip(table[row], share[row])])
                for row, name in enumerate(names)]
    pairs = [(int(table[row, column]), row, column) for row, column in zip(*np.nonzero(table))
             if row != column and row < len(classes) and column < len(classes)]
    worst = [f'{names[row]} taken for {names[column]}: {count} times'
             for count, row, column in sorted(pairs, reverse=True)[:5]]
    return dict(names=names, rows=rows, worst=worst)
