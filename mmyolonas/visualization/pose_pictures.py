"""Pictures of labelled poses and of what a pose model makes of them."""
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

import numpy as np

from mmyolonas.utils.figures import write_figure

from .data_report import write_picture
from .drawing import draw_boxes, draw_poses
from .evaluation_report import draw_threshold
from .grid import make_grid
from .palette import make_palette

if TYPE_CHECKING:
    from mmyolonas.datasets.formats.coco_split import CocoSplit
    from mmyolonas.datasets.formats.keypoints import Keypoints
    from mmyolonas.datasets.inspection.poses import PoseReport as PoseData
    from mmyolonas.datasets.inspection.records import DataReport
    from mmyolonas.evaluation.pose_report import PoseMistake, PoseReport

_GRID = 12
_TRUTH, _FOUND = (60, 170, 60), (40, 40, 220)  # BGR: green, red
_SHAPES = 300


def draw_pose_data(report: 'DataReport', poses: 'PoseData', folder: Path) -> List[Path]:
    """Draw the key points of a data set.

    Args:
        report (DataReport): What was seen of images and boxes.
        poses (PoseData): And of key points.
        folder (Path): Folder for ``keypoints.png`` (counts, shapes) and ``poses.png``
            (training images).

    Returns:
        list[Path]: The pictures.
    """
    folder = Path(folder)
    paths = [_draw_counts(report, poses, folder / 'keypoints.png')]
    part, table = report.splits['train'], poses.tables['train']
    usable = [i for i, image in enumerate(part.scanned) if image.problem is None]
    with_points = sorted(set(part.table.images[table.labelled.any(1)]) & set(usable)) or usable
    chosen = [with_points[int(i)] for i in np.linspace(0, len(with_points) - 1,
                                                       min(_GRID, len(with_points)))]
    pictures = []
    for index in chosen:
        from mmyolonas.utils.images import read_image
        rows = part.table.of_image(index)
        image = draw_boxes(read_image(part.scanned[index].path), part.table.boxes[rows],
                           part.table.labels[rows], classes=report.classes)
        pictures.append(draw_poses(image, table.points[rows], table.labelled[rows],
                                   poses.keypoints.links))
    if pictures:
        titles = [part.scanned[index].path.name for index in chosen]
        paths.append(write_picture(folder / 'poses.png', make_grid(pictures, 4, titles=titles)))
    return paths


def _draw_counts(report: 'DataReport', poses: 'PoseData', path: Path) -> Path:
    """Draw how often each point is labelled, and where in its box."""
    from matplotlib.figure import Figure
    names, table = poses.keypoints.names, poses.tables['train']
    figure = Figure(figsize=(12, max(4, 0.3 * len(names) + 1.5)), layout='constrained')
    counts, shapes = figure.subplots(1, 2)
    left = np.zeros(len(names))
    for value, label in ((2, 'seen'), (1, 'hidden'), (0, 'not labelled')):
        number = (table.visible == value).sum(0)
        counts.barh(range(len(names)), number, left=left, label=label,
                    color={2: 'tab:green', 1: 'tab:orange', 0: 'lightgrey'}[value])
        left += number
    counts.set_yticks(range(len(names)), [name[:24] for name in names], fontsize=8)
    counts.invert_yaxis()
    counts.set(title='labels of the training objects', xlabel='objects')
    counts.legend(fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.12), ncols=3)
    boxes = report.splits['train'].table.boxes[:_SHAPES]
    places = (table.points[:_SHAPES] - boxes[:, None, :2]) / np.maximum(
        boxes[:, None, 2:] - boxes[:, None, :2], 1e-9)
    for index, colour in enumerate(make_palette(len(names))):
        seen = table.labelled[:_SHAPES, index]
        shapes.plot(*places[seen, index].T, '.', markersize=4,
                    color=tuple(channel / 255 for channel in colour[::-1]))
    shapes.add_patch(_rectangle())
    shapes.set(title='where the points lie in the box of their object', xlim=(-0.3, 1.3),
               ylim=(1.3, -0.3))
    write_figure(path, figure, 100)
    return path


def _rectangle():
    from matplotlib.patches import Rectangle
    return Rectangle((0, 0), 1, 1, fill=False, color='black')


def draw_pose_evaluation(report: 'PoseReport', split: 'CocoSplit',
                         detections: List[Dict[str, Any]], keypoints: 'Keypoints',
                         folder: Path) -> List[Path]:
    """Draw a report on a pose model.

    Args:
        report (PoseReport): The report.
        split (CocoSplit): The part it is of.
        detections (list[dict]): See ``evaluate_poses``.
        keypoints (Keypoints): Names and lines.
        folder (Path): Folder for ``threshold.png``, ``points.png``, ``predictions.png`` and,
            if there are any, ``mistakes.png``.

    Returns:
        list[Path]: The pictures.
    """
    folder = Path(folder)
    paths = [draw_threshold(report, folder / 'threshold.png', 'OKS 0.5'),
             draw_points(report, folder / 'points.png'),
             _draw_predictions(report, split, detections, keypoints, folder / 'predictions.png')]
    mistakes = report.mistakes[:_GRID]
    if mistakes:
        cells = [_mistake(mistake, split, detections, keypoints) for mistake in mistakes]
        titles = [mistake.title(detections) for mistake in mistakes]
        paths.append(write_picture(folder / 'mistakes.png', make_grid(cells, 4, titles=titles)))
    return paths


def draw_points(report: 'PoseReport', path: Path) -> Path:
    """Draw how many of each key point are found within 5 and 10 % of the diagonal."""
    from matplotlib.figure import Figure
    rows = report.points
    figure = Figure(figsize=(9, max(2.5, 0.3 * len(rows) + 1.5)), layout='constrained')
    axes = figure.subplots()
    places = np.arange(len(rows))
    axes.barh(places - 0.2, [row.pck5 for row in rows], 0.4, label='within 5 % of the diagonal')
    axes.barh(places + 0.2, [row.pck10 for row in rows], 0.4, label='within 10 %', alpha=0.6)
    axes.set_yticks(places, [f'{row.name[:24]} ({row.labelled})' for row in rows],
                    fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=f'{report.split}: OKS AP {report.ap:.3f}, AP50 {report.ap50:.3f}',
             xlabel='share of the points found (number of labels behind the name)')
    axes.grid(alpha=0.3, axis='x')
    axes.legend(fontsize=8)
    write_figure(path, figure, 110)
    return path


def _of_truth(annotations: Sequence[Dict[str, Any]]) -> Tuple[np.ndarray, np.ndarray]:
    points = np.array([a['keypoints'] for a in annotations], float)
    points = points.reshape(len(annotations), -1 if annotations else 1, 3)
    return points[..., :2], points[..., 2]


def _draw_predictions(report, split, detections, keypoints, path: Path) -> Path:
    """Draw labels beside predictions for images spread over the part."""
    from mmyolonas.utils.images import read_image
    count, pictures, titles = len(split.data['images']), [], []
    for index in sorted({int(i) for i in np.linspace(0, count - 1, min(_GRID // 2, count))}):
        key = split.data['images'][index]['id']
        truth = _of_truth([a for a in split.data['annotations'] if a['image_id'] == key])
        found = _of_truth([d for d in detections if d['image_id'] == key
                           and d['score'] >= report.threshold])
        image = read_image(split.paths[index])
        pictures.append(draw_poses(image.copy(), truth[0], truth[1] > 0, keypoints.links))
        pictures.append(draw_poses(image, found[0], found[1] >= 0.3, keypoints.links))
        titles += ['labels', 'predictions']
    return write_picture(path, make_grid(pictures, 4, titles=titles))


def _mistake(mistake: 'PoseMistake', split, detections, keypoints) -> np.ndarray:
    """Return the surroundings of a mistake: label in green, prediction in red."""
    import cv2

    from mmyolonas.utils.images import read_image
    image = read_image(split.paths[mistake.image])
    chosen = [(items[index], colour, limit) for items, index, colour, limit in (
        (split.data['annotations'], mistake.truth, _TRUTH, 0.5),
        (detections, mistake.found, _FOUND, 0.3)) if index is not None]
    boxes = np.array([item['bbox'] for item, *_ in chosen], float)
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    half, centre = max(24., 0.7 * float((high - low).max())), (low + high) / 2
    left, top = (int(max(0, c - half)) for c in centre)
    right, bottom = (int(min(limit, c + half + 1))
                     for c, limit in zip(centre, image.shape[1::-1]))
    part = np.ascontiguousarray(image[top:max(bottom, top + 1), left:max(right, left + 1)])
    zoom = max(1., 320 / max(part.shape[:2]))
    if zoom > 1:
        part = cv2.resize(part, None, fx=zoom, fy=zoom)
    for item, colour, limit in chosen:
        points, scores = _of_truth([item])
        count = points.shape[1]
        draw_poses(part, (points - [left, top]) * zoom, scores >= limit, keypoints.links,
                   [colour] * count, [colour] * max(1, len(keypoints.links)))
    return part
