"""Pictures of a data set: counts, sizes, places, samples, images that look alike."""
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

import numpy as np

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import write_image

from .drawing import draw_boxes
from .grid import make_grid
from .palette import make_palette

if TYPE_CHECKING:
    from mmyolonas.datasets.inspection.records import DataReport, SplitReport

_MAX_BARS = 40
_GRID = 12  # images in a grid


def write_picture(path: Path, image: np.ndarray) -> Path:
    """Write a BGR image atomically and return its path.

    Raises:
        UserError: It could not be written.
    """
    write_image(path, image)
    return path


def draw_data_report(report: 'DataReport', folder: Path) -> List[Path]:
    """Draw a report on a data set.

    Args:
        report (DataReport): The report.
        folder (Path): Folder for ``data.png`` (counts, sizes, places),
            ``samples.png`` (training images with their boxes) and, if there are
            any, ``alike.png`` (images that look the same).

    Returns:
        list[Path]: The pictures.
    """
    folder = Path(folder)
    paths = [_draw_figure(report, folder / 'data.png')]
    samples, titles = _samples(report)
    if samples:
        paths.append(write_picture(folder / 'samples.png', make_grid(samples, 4, titles=titles)))
    alike = _alike(report)
    if alike[0]:
        paths.append(write_picture(folder / 'alike.png', make_grid(alike[0], 4, titles=alike[1])))
    return paths


def _draw_figure(report: 'DataReport', path: Path) -> Path:
    from matplotlib.figure import Figure
    figure = Figure(figsize=(14, 8), layout='constrained')
    (counts, sizes, shapes), (sides, per_image, places) = figure.subplots(2, 3)
    _draw_counts(report, counts)
    for name, part in report.splits.items():
        boxes, labels = part.table.boxes, name
        extent = boxes[:, 2:] - boxes[:, :2]
        sizes.scatter(*part.sizes.T, s=12, alpha=0.5, label=labels)
        shapes.scatter(*extent.T, s=4, alpha=0.3, label=labels)
        per_image.hist(np.bincount(part.table.images, minlength=len(part.scanned)), bins=20,
                       alpha=0.5, label=labels, density=True)
    train = report.splits['train']
    relative = np.sqrt(_relative_areas(train))
    if len(relative):
        sides.hist(100 * relative, bins=40, color='tab:green')
    sides.axvline(100 * 8 / 640, color='tab:red', linestyle='--', label='8 pixels of 640')
    _draw_places(train, places)
    for axes, title, x, y in (
            (sizes, 'images', 'width in pixels', 'height in pixels'),
            (shapes, 'boxes', 'width in pixels', 'height in pixels'),
            (per_image, 'boxes of an image', 'boxes', 'share of the images'),
            (sides, 'size of the training boxes', "% of the image's longer side", 'boxes')):
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(str(report.layout.root))
    write_figure(path, figure, 100)
    return path


def _relative_areas(part: 'SplitReport') -> np.ndarray:
    boxes, sizes = part.table.boxes, part.sizes[part.table.images]
    return (boxes[:, 2:] - boxes[:, :2]).prod(1) / sizes.max(1, initial=1)**2


def _draw_counts(report: 'DataReport', axes) -> None:
    """Draw the boxes of each class, the commonest first."""
    total = report.splits['train'].counts(len(report.classes))
    order = np.argsort(-total, kind='stable')[:_MAX_BARS]
    bottom = np.zeros(len(order))
    for name, part in report.splits.items():
        values = part.counts(len(report.classes))[order]
        axes.barh(range(len(order)), values, left=bottom, label=name)
        bottom += values
    axes.set_yticks(range(len(order)), [report.classes[label][:24] for label in order], fontsize=7)
    axes.invert_yaxis()
    left_out = len(report.classes) - len(order)
    axes.set(title='boxes of each class' + (f' ({left_out} more classes)' if left_out else ''),
             xlabel='boxes')
    axes.legend(fontsize=8)


def _draw_places(part: 'SplitReport', axes) -> None:
    """Draw where the objects are in the image."""
    boxes, sizes = part.table.boxes, part.sizes[part.table.images]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes
    density, _, _ = np.histogram2d(centres[:, 1], centres[:, 0], bins=24, range=[[0, 1], [0, 1]])
    axes.imshow(density, extent=(0, 1, 1, 0), cmap='viridis', aspect='auto')
    axes.set(title='centres of the training boxes', xlabel='across', ylabel='down')


def _samples(report: 'DataReport') -> Tuple[List[np.ndarray], List[str]]:
    """Return training images with their boxes, spread over the set."""
    part = report.splits['train']
    usable = [i for i, image in enumerate(part.scanned) if image.problem is None]
    chosen = [usable[int(i)] for i in np.linspace(0, len(usable) - 1, min(_GRID, len(usable)))]
    palette = make_palette(len(report.classes))
    pictures = []
    for index in chosen:
        rows = part.table.of_image(index)
        pictures.append(draw_boxes(_read(part, index), part.table.boxes[rows],
                                   part.table.labels[rows], classes=report.classes,
                                   palette=palette))
    return pictures, [part.scanned[index].path.name for index in chosen]


def _alike(report: 'DataReport') -> Tuple[List[np.ndarray], List[str]]:
    """Return pairs of images that look the same, those of several parts first."""
    pictures: List[np.ndarray] = []
    titles: List[str] = []
    groups = [*report.leaks, *(group for group in report.similar if group not in report.leaks)]
    for group in groups[:_GRID // 2]:
        first = group[0]
        # of a leak one image of another part
        other = next((place for place in group if place[0] != first[0]), group[1])
        for name, index in (first, other):
            part = report.splits[name]
            try:
                pictures.append(_read(part, index))
            except UserError:
                pictures.append(np.zeros((8, 8, 3), np.uint8))
            titles.append(f'{name}/{part.scanned[index].path.name}')
    return pictures, titles


def _read(part: 'SplitReport', index: int) -> np.ndarray:
    from mmyolonas.utils.images import read_image
    return read_image(part.scanned[index].path)
