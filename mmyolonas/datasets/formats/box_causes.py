"""Why boxes cannot be used: causes that are faults of a whole file, not of single boxes."""
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.utils.data_error import DataError

_FEW = 5  # boxes that are too few to tell how all were written
_MOST = 0.98  # of the boxes that a cause has to explain


def check_boxes(boxes: np.ndarray, sizes: np.ndarray, annotations: Sequence[Dict[str, Any]],
                usable: np.ndarray, name: str) -> None:
    """Raise if training or scoring on these boxes would be in vain.

    Args:
        boxes (ndarray): (N, 4) x, y, width, height as the file says; may hold NaN.
        sizes (ndarray): (N, 2) width and height of each box's image.
        annotations (Sequence[dict]): Of the boxes.
        usable (ndarray): (N,) bool, from :func:`~.coco_checks.clean_boxes`.
        name (str): How to call the file.

    Raises:
        DataError: None can be used, all are crowds, or they are corners in place of
            corner and size; the message names the cause and the way out.
    """
    if not len(boxes):
        return
    crowd = np.array([bool(a.get('iscrowd')) for a in annotations])
    start = f"annotation file '{name}': "
    if not usable.any():
        raise DataError(start + f'not one of {len(boxes)} boxes can be used: '
                        + _why_none(boxes, sizes))
    if crowd[usable].all():
        raise DataError(
            start + f'all {int(usable.sum())} boxes are marked iscrowd, which training and scoring '
            'leave out (labelling tools mark brush masks so): export polygons or boxes, or set '
            'iscrowd to 0')
    if fractions(boxes):
        raise DataError(start + _FRACTIONS)
    if corners(boxes, sizes, annotations):
        raise DataError(start + _CORNERS)
    if centres(boxes, sizes):
        raise DataError(start + _CENTRES)


def check_ignored(ignored: int, others: int, name: str) -> None:
    """Raise if every box is marked ``ignore``.

    Args:
        ignored (int): Boxes that are, of the classes that are wanted.
        others (int): Boxes that are not.
        name (str): How to call the file.
    """
    if ignored and not others:
        raise DataError(f"annotation file '{name}': all {ignored} boxes are marked ignore, which "
                        'training and scoring leave out: set ignore to 0, or remove it')


_FRACTIONS = ('the boxes are fractions of the image (no number is above 1), COCO has pixels: '
              'multiply x and width by the width of the image, y and height by its height')
_CORNERS = ('the boxes are the corners x1, y1, x2, y2, COCO has x, y, width, height: subtract the '
            'first corner from the second')
_CENTRES = ('x and y of the boxes are their centres, COCO has the upper left corner: subtract half '
            'the width and half the height')


def _why_none(boxes: np.ndarray, sizes: np.ndarray) -> str:
    finite = np.isfinite(boxes).all(1)
    if not finite.any():
        return 'their coordinates are not finite numbers; export the labels again'
    if fractions(boxes):
        return _FRACTIONS
    boxes, sizes = boxes[finite], sizes[finite]
    if (boxes[:, 2:] <= 0).any(1).mean() > 0.5:
        return ('their width or height is zero or negative; they must be x, y, width, height in '
                'pixels')
    if (boxes[:, :2] >= sizes).any(1).mean() > 0.5:
        return ('they lie outside of their images, so coordinates, or width and height of the '
                'images, are of another size of the images')
    return 'they are empty or outside; they must be x, y, width, height in pixels'


def fractions(boxes: np.ndarray) -> bool:
    """Whether boxes are written in fractions of the image."""
    boxes = boxes[np.isfinite(boxes).all(1)]
    shown = np.abs(boxes).max(1, initial=0) > 0
    return bool(shown.any() and np.abs(boxes[shown]).max() <= 1.0001
                and (boxes[shown] % 1 != 0).any())


def corners(boxes: np.ndarray, sizes: np.ndarray,
            annotations: Sequence[Dict[str, Any]] = ()) -> bool:
    """Whether boxes are two corners: as such they fit, as corner and size half do not.

    A stated area decides where there is one for each box.
    """
    finite = np.isfinite(boxes).all(1)
    areas: List[Optional[float]] = [a.get('area') for a in annotations]
    boxes, sizes = boxes[finite], sizes[finite]
    if len(boxes) < _FEW:
        return False
    size = boxes[:, 2:] - boxes[:, :2]
    if len(areas) == len(finite) and all(isinstance(area, (int, float)) for area in areas):
        stated = np.array(areas, float)[finite]
        with np.errstate(all='ignore'):
            as_corners, as_size = (np.abs(stated - sides.prod(1)) <= 0.01 * stated + 1
                                   for sides in (np.where(size > 0, size, 0), boxes[:, 2:]))
        if as_corners.mean() >= _MOST and as_size.mean() < 0.1:
            return True
        if as_size.mean() > 0.5:
            return False
    fits = ((size > 0) & (boxes[:, :2] >= -1) & (boxes[:, 2:] <= sizes + 1)).all(1)
    with np.errstate(over='ignore'):
        over = (boxes[:, :2] + boxes[:, 2:] > sizes + 1).any(1)
    return bool(fits.mean() >= _MOST and over.mean() > 0.4)


def centres(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether x and y of boxes are centres: as such they fit, as corners many reach out."""
    finite = np.isfinite(boxes).all(1)
    boxes, sizes = boxes[finite], sizes[finite]
    if len(boxes) < _FEW:
        return False
    with np.errstate(over='ignore'):
        half = boxes[:, 2:] / 2
        fits = ((half > 0) & (boxes[:, :2] - half >= -1)
                & (boxes[:, :2] + half <= sizes + 1)).all(1)
        over = (boxes[:, :2] + boxes[:, 2:] > sizes + 1).any(1)
    return bool(fits.mean() >= _MOST and over.mean() > 0.3)
