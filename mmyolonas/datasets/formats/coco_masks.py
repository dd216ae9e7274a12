"""Segmentations of COCO files, before compiled code gets them."""
from typing import Any, Dict

from mmyolonas.datasets.formats.coco_values import is_number, number_of
from mmyolonas.utils.data_error import DataError

_MAX_SIDE = 100_000


def checked_mask(annotation: Dict[str, Any], name: str) -> Any:
    """Return an annotation's segmentation if it is sound.

    pycocotools' C code crashes the process on NaN, on counts that do not fill the
    mask and on other types.

    Args:
        annotation (dict): With ``id`` and ``segmentation``: polygons, or a
            run-length code with ``size`` and ``counts``.
        name (str): How to call the file.

    Raises:
        DataError: It is neither; the message names the annotation.
    """
    mask = annotation['segmentation']
    if isinstance(mask, dict):
        problem = _code_problem(mask)
    elif isinstance(mask, list):
        # one polygon without the list around it is read as what is meant
        mask = [mask] if all(is_number(number_of(value)) for value in mask) else mask
        mask = [[number_of(value) for value in polygon] if isinstance(polygon, list) else polygon
                for polygon in mask]
        sound = all(isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
                    and all(is_number(value) and abs(value) <= _MAX_SIDE for value in polygon)
                    for polygon in mask)
        problem = '' if sound else 'polygons need three or more corners of finite numbers'
    else:
        problem = 'it must be a list of polygons or a run-length code'
    if problem:
        raise DataError(f"annotation file '{name}': the segmentation of annotation "
                        f"{annotation['id']} cannot be used ({problem}): export it again, or load "
                        'the data with with_mask=False')
    return mask


def _code_problem(mask: Dict[str, Any]) -> str:
    size, counts = mask.get('size'), mask.get('counts')
    if not (isinstance(size, (list, tuple)) and len(size) == 2
            and all(isinstance(v, int) and 0 < v <= _MAX_SIDE for v in size)):
        return 'a run-length code needs size: [height, width]'
    if isinstance(counts, str):
        # characters that pycocotools' compression can write
        return '' if counts and all(48 <= ord(c) < 112 for c in counts) and _fills(
            _decompressed(counts), size) else 'the counts of the run-length code are damaged'
    if not (isinstance(counts, list) and all(
            isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in counts)):
        return 'a run-length code needs counts'
    return '' if _fills(counts, size) else 'the counts of the run-length code do not fill it'


def _fills(counts: list, size: list) -> bool:
    return min(counts, default=-1) >= 0 and sum(counts) == size[0] * size[1]


def _decompressed(text: str) -> list:
    """Return the run lengths of pycocotools' compressed text (rleFrString)."""
    counts: list = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1f) << shift
        shift += 5
        if code & 0x20:
            if shift > 60:
                return []
            continue
        if code & 0x10:
            value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts if shift == 0 else []
