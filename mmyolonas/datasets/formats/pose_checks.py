"""Key points of COCO files, checked and repaired: pure functions."""
import math
from typing import Any, Dict, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_values import is_number, number_of
from mmyolonas.utils.data_error import DataError


def clean_poses(data: Dict[str, Any], num_keypoints: int, name: str) -> Dict[str, int]:
    """Give every annotation K key points (x, y, visibility), in place.

    An object without key points keeps its box and gets points that are not
    labelled: left out, it would teach a model that nothing is there. Points
    without finite coordinates or outside of their image are not labelled either.

    Args:
        data (dict): From :func:`~.coco_checks.read_coco_file`.
        num_keypoints (int): K.
        name (str): How to call the file in messages.

    Returns:
        dict[str, int]: Sentence part -> number of objects, of what was repaired.

    Raises:
        DataError: Key points are of another number or no numbers, or there are none
            in the whole file; the message names the first annotation.
    """
    problems: Dict[str, int] = {}
    labelled = 0
    sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
    for annotation in data['annotations']:
        points, problem = _points_of(annotation, num_keypoints, name)
        outside = _hide_outside(points, sizes.get(annotation['image_id']))
        for found in filter(None, (problem, outside)):
            problems[found] = problems.get(found, 0) + 1
        annotation['keypoints'] = points
        seen = sum(value > 0 for value in points[2::3])
        annotation['num_keypoints'] = seen
        labelled += seen
    if data['annotations'] and not labelled:
        raise DataError(
            f"annotation file '{name}': not one key point of {len(data['annotations'])} objects is "
            'labelled (keypoints must be x, y, visibility, with the visibility 1 hidden or 2 '
            'seen): export the key points with the boxes')
    _raise_for_fractions(data['annotations'], name)
    return problems


def _points_of(annotation: Dict[str, Any], count: int, name: str) -> Tuple[List[float],
                                                                           Optional[str]]:
    """Return 3 K numbers, and what had to be repaired."""
    values = _flat(annotation.get('keypoints'))
    if all(value is None for value in values):
        return [0] * (3 * count), 'have no key points; their boxes are kept'
    if len(values) == 2 * count != 3 * count and count:
        rows = [(values[i], values[i + 1], 2) for i in range(0, len(values), 2)]
        rows = [row if any(row[:2]) else (0, 0, 0) for row in rows]
    elif len(values) == 3 * count:
        rows = [tuple(values[i:i + 3]) for i in range(0, len(values), 3)]
    else:
        points = f'{len(values)} numbers' if len(values) % 3 else f'{len(values) // 3} key points'
        raise DataError(f"annotation file '{name}': annotation {annotation['id']} has {points}, "
                        f'but {count} key points are expected ({3 * count} numbers: x, y, '
                        'visibility of each): correct keypoint_info in the metainfo of the data '
                        'set and num_keypoints in the config, or the file')
    result: List[float] = []
    problem = None
    for row in rows:
        row = [number_of(value) for value in row]
        if isinstance(row[2], bool):
            row[2] = 2 * row[2]
        if any(value is not None and not isinstance(value, (int, float)) for value in row):
            raise DataError(f"annotation file '{name}': key points of annotation "
                            f"{annotation['id']} must be numbers, got {str(row)[:60]}")
        if not all(value is not None and is_number(value) and abs(value) < 1e6
                   for value in row):
            if any(value is not None and not math.isnan(float(value)) for value in row[:2]) or (
                    row[2] not in (None, 0)):
                problem = 'have key points without finite coordinates, which are not labelled'
            row = [0, 0, 0]
        result += [row[0], row[1], max(0, int(math.ceil(min(2, row[2]))))]
    return result, problem


def _hide_outside(points: List[float], size: Optional[Tuple[float, float]]) -> Optional[str]:
    """Take the labels of points that lie beside the image by more than rounding, in place."""
    if size is None:
        return None
    margin = 1 + 0.02 * max(size)
    found = None
    for index in range(0, len(points), 3):
        if points[index + 2] > 0 and not all(
                -margin <= value <= side + margin
                for value, side in zip(points[index:index + 2], size)):
            points[index:index + 3] = [0, 0, 0]
            found = 'have key points outside of their image, which are not labelled'
    return found


def _flat(value: Any) -> List[Any]:
    """Return the numbers of key points that are a list, or a list of lists."""
    if not isinstance(value, (list, tuple)):
        return [] if value is None else [value]
    flat: List[Any] = []
    for item in value:
        flat += list(item) if isinstance(item, (list, tuple)) else [item]
    return flat


def _raise_for_fractions(annotations: List[Dict[str, Any]], name: str) -> None:
    seen = [value for a in annotations for i in range(0, len(a['keypoints']), 3)
            if a['keypoints'][i + 2] > 0 for value in a['keypoints'][i:i + 2]]
    if len(seen) >= 8 and 0 < max(seen) <= 1.0001 and any(value % 1 for value in seen):
        raise DataError(f"annotation file '{name}': the key points are fractions of the image, "
                        'COCO has pixels: multiply x by the width and y by the height of the '
                        'image')
