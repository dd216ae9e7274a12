"""Lines of YOLO (Darknet) text files: boxes, outlines, poses."""
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_values import number_of
from mmyolonas.datasets.formats.text_files import read_text
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError

_COMMA = re.compile(r'-?\d+(,\d+)?')


@dataclass
class RowKind:
    """What the numbers of a label file's line are.

    Attributes:
        keypoints (int): Key points of an object; 0 for boxes.
        dims (int): Numbers of a key point, 2 or 3; 0 where both may occur.
        polygons (bool): Whether a line may hold the corners of an outline.
    """
    keypoints: int = 0
    dims: int = 0
    polygons: bool = False

    @property
    def lengths(self) -> Tuple[int, ...]:
        """tuple[int]: Numbers that a line may have, for outlines only the least."""
        if not self.keypoints:
            return (5, )
        return tuple(5 + d * self.keypoints for d in ((self.dims, ) if self.dims else (2, 3)))


def row_kind(values: Dict[str, Any], rows: Sequence[np.ndarray], path: Path) -> RowKind:
    """Find out what lines of label files are.

    ``kpt_shape`` says it for poses. Without it outlines and poses look alike: lines
    are poses if all have one length and their points lie within the box before
    them, which corners of an outline hardly ever do.

    Args:
        values (dict): The description of the data set.
        rows (Sequence[ndarray]): Lines, of any lengths.
        path (Path): The description, for messages.

    Raises:
        DataError: ``kpt_shape`` is not two numbers.
    """
    shape = values.get('kpt_shape')
    if shape not in (None, '', []):
        if isinstance(shape, str):  # in quotes
            shape = shape.strip(' []()').split(',')
        numbers = [number_of(v) for v in (shape if isinstance(shape, list) else [shape])]
        if not (len(numbers) == 2 and all(isinstance(n, int) for n in numbers)
                and numbers[0] > 0 and numbers[1] in (2, 3)):
            raise DataError(f"'{path}': kpt_shape must be [number of key points, 2 or 3], got "
                            f'{str(shape)[:60]}')
        return RowKind(*numbers)
    lengths = {len(row) for row in rows}
    if len(lengths) == 1:
        length = lengths.pop()
        for dims in (3, 2):
            if length > 5 and (length - 5) % dims == 0 and _are_poses(np.stack(rows), dims):
                return RowKind((length - 5) // dims, dims)
    return RowKind(polygons=True)


def _are_poses(rows: np.ndarray, dims: int) -> bool:
    points = rows[:, 5:].reshape(len(rows), -1, dims)
    if dims == 3 and not np.isin(points[..., 2], (0, 1, 2)).all():
        return False
    shown = (points[..., :2] != 0).any(-1)
    low, high = (rows[:, None, 1:3] + sign * rows[:, None, 3:5] * 0.55 for sign in (-1, 1))
    inside = ((points[..., :2] >= low) & (points[..., :2] <= high)).all(-1)
    return bool(shown.any() and inside[shown].mean() > 0.95)


def read_rows(path: Path) -> List[Tuple[int, np.ndarray]]:
    """Return number and numbers of each line of a text file; one that does not exist has none.

    Raises:
        UserError: There is something else than numbers; the message names the line.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        words = line.split()
        if len(words) > 4 and ',' in line and all(map(_COMMA.fullmatch, words)):
            line = line.replace(',', '.')  # the decimal point of half the world
        try:
            row = np.array([float(word) for word in line.replace(',', ' ').split()])
        except ValueError:
            row = np.zeros(0)
        if len(row) < 5 or not np.isfinite(row).all():
            raise UserError(f'{path}, line {number}: expected 5 numbers, got '
                            f'"{line.strip()[:60]}" (class, centre x, centre y, width, height).')
        rows.append((number, row))
    return rows


def to_rows(lines: Sequence[Tuple[int, np.ndarray]], num_classes: int, kind: RowKind,
            path: Path) -> np.ndarray:
    """Return objects as rows of equal length.

    Args:
        lines (Sequence[tuple]): From :func:`read_rows`.
        num_classes (int): Number of classes.
        kind (RowKind): What the numbers are; of an outline the enclosing box is taken.
        path (Path): Their file, for messages.

    Returns:
        ndarray: (N, 5 + 3 * keypoints): class, centre, size, key points, all
        but the class as fractions of the image.

    Raises:
        UserError: A line is wrong; the message names it.
    """
    rows = []
    for number, row in lines:
        if kind.polygons and not kind.keypoints and len(row) >= 7 and len(row) % 2:
            corners = np.reshape(row[1:], (-1, 2))
            low, high = corners.min(0), corners.max(0)
            row = np.hstack([row[0], (low + high) / 2, high - low])
        if len(row) not in kind.lengths:
            shown = ' '.join(f'{value:g}' for value in row[:8])
            hint = ('; key points need kpt_shape in the data.yaml'
                    if not kind.keypoints and len(row) > 6 else '')
            raise UserError(f'{path}, line {number}: expected '
                            f'{" or ".join(map(str, kind.lengths))} numbers, got {len(row)} '
                            f'({shown}{" ..." if len(row) > 8 else ""}){hint}.')
        if not (row[0].is_integer() and 0 <= row[0] < num_classes):
            raise UserError(f'{path}, line {number}: class {row[0]:g} is not among the '
                            f'{num_classes} names.')
        if kind.keypoints and len(row) == 5 + 2 * kind.keypoints:
            points = np.reshape(row[5:], (-1, 2))
            shown = 2.0 * (points != 0).any(1, keepdims=True)
            row = np.hstack([row[:5], np.hstack([points, shown]).ravel()])
        rows.append(row)
    return np.reshape(rows, (-1, 5 + 3 * kind.keypoints))


def to_annotations(rows: np.ndarray, width: int, height: int, clip: bool = True) -> List[Dict]:
    """Return COCO annotations of one image.

    Args:
        rows (ndarray): From :func:`to_rows`.
        width, height (int): Size of the image in pixels.
        clip (bool): Whether to cut boxes at the border and drop those without
            area; if not, they are as the file says. Defaults to True.
    """
    annotations = []
    size = np.array([width, height, width, height], float)
    for row in rows:
        centre, half = row[1:3], row[3:5] / 2
        corners = np.hstack([centre - half, centre + half])
        box = (np.clip(corners, 0, 1) if clip else corners) * size
        x1, y1, x2, y2 = (round(float(value), 3) for value in box)
        if clip and (x2 <= x1 or y2 <= y1):
            continue
        annotation = dict(category_id=int(row[0]) + 1, bbox=[x1, y1, x2 - x1, y2 - y1],
                          area=(x2 - x1) * (y2 - y1), iscrowd=0)
        if len(row) > 5:
            points = row[5:].reshape(-1, 3) * [width, height, 1]
            annotation.update(
                keypoints=[round(float(value), 3) for value in points.ravel()],
                num_keypoints=int((points[:, 2] > 0).sum()))
        annotations.append(annotation)
    return annotations
