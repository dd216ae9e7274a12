"""All key points of one part of a data set as arrays, and what is wrong with them."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence

import numpy as np

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.keypoints import Keypoints
from mmyolonas.datasets.formats.pose_checks import clean_poses
from mmyolonas.datasets.inspection.box_table import BoxTable
from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.names import printable

_MARGIN = 0.05  # of the box, by which a point may lie outside it
_FEW = 20  # labels of a point to learn from
_MANY_OUTSIDE = 0.02


@dataclass
class PoseTable:
    """The key points of the objects of a ``BoxTable``, M objects with K points.

    Attributes:
        points (ndarray): (M, K, 2) float64 in pixels; 0 where not labelled.
        visible (ndarray): (M, K) int64: 0 not labelled, 1 hidden, 2 seen.
        problems (dict[str, int]): Sentence part -> number of objects or points.
    """
    points: np.ndarray
    visible: np.ndarray
    problems: Dict[str, int]

    @property
    def labelled(self) -> np.ndarray:
        """ndarray: (M, K) bool."""
        return self.visible > 0


def pose_table(split: CocoSplit, table: BoxTable, count: int) -> PoseTable:
    """Return the key points of a part, checked; its annotations are repaired in place.

    Points at the very corner (0, 0) are exports' way of writing a missing one, whatever
    visibility they give it: they are not labelled.

    Args:
        split (CocoSplit): The part.
        table (BoxTable): Its boxes.
        count (int): K.

    Raises:
        DataError: See :func:`~mmyolonas.datasets.formats.pose_checks.clean_poses`.
    """
    problems = {f'objects {text}': number for text, number in clean_poses(
        split.data, count, str(split.ann_file or split.images)).items()}
    rows = [split.data['annotations'][index]['keypoints'] for index in table.sources]
    values = np.array(rows, float).reshape(-1, count, 3)
    at_corner = (values[..., 2] > 0) & (values[..., :2] == 0).all(-1)
    if at_corner.any():
        problems['key points lie in the corner (0, 0), as exports write missing ones, and count as '
                 'not labelled'] = int(at_corner.sum())
        values[at_corner] = 0
        for row in np.flatnonzero(at_corner.any(1)):
            annotation = split.data['annotations'][table.sources[row]]
            annotation.update(keypoints=values[row].ravel().tolist(),
                              num_keypoints=int((values[row, :, 2] > 0).sum()))
    visible = values[..., 2].astype(np.int64)
    return PoseTable(np.where(visible[..., None] > 0, values[..., :2], 0), visible, problems)


@dataclass
class PoseReport:
    """What was found of key points.

    Attributes:
        keypoints (Keypoints): Names, mirror partners, lines.
        tables (dict[str, PoseTable]): By 'train', 'val', 'test'.
        warnings (list[str]): Sentences.
    """
    keypoints: Keypoints
    tables: Dict[str, PoseTable]
    warnings: List[str] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return plain values for a JSON file."""
        points = self.keypoints
        counts = {name: [dict(zip(('unlabelled', 'hidden', 'seen'), map(int, column)))
                         for column in _counts(table).T] for name, table in self.tables.items()}
        return dict(names=list(points.names), named=points.named,
                    flip=None if points.flip is None else list(points.flip),
                    links=[list(link) for link in points.links], counts=counts)

    def to_text(self) -> str:
        """Return a table for a terminal: labels of each key point, hidden ones behind them."""
        names = [printable(name) for name in self.keypoints.names]
        width = max(16, *(len(name) + 4 for name in names))
        lines = [f'{len(names)} key points, labelled (of these hidden):', '',
                 ' ' * width + ''.join(f'{name:>16}' for name in self.tables)]
        counts = [_counts(table) for table in self.tables.values()]
        for index, name in enumerate(names):
            cells = [f'{count[1:, index].sum()} ({count[1, index]})' for count in counts]
            lines.append(f'  {name:<{width - 2}}' + ''.join(f'{cell:>16}' for cell in cells))
        if self.keypoints.flip is None:
            lines += ['', 'which points a mirror exchanges is not known']
        else:
            pairs = [f'{names[a]} - {names[b]}' for a, b in enumerate(self.keypoints.flip) if a < b]
            lines += ['', 'a mirror exchanges: ' + (', '.join(pairs) or 'no points')]
        return '\n'.join(lines)


def inspect_poses(report: DataReport, keypoints: Keypoints) -> PoseReport:
    """Look at the key points of a data set; their warnings are added to the report's.

    Args:
        report (DataReport): What was seen of images and boxes.
        keypoints (Keypoints): From ``read_keypoints``.
    """
    tables = {name: pose_table(part.split, part.table, len(keypoints.names))
              for name, part in report.splits.items()}
    found = PoseReport(keypoints, tables)
    found.warnings = [*_of_names(keypoints), *_of_counts(found), *_of_places(report, tables),
                      *_of_problems(tables)]
    report.warnings += found.warnings
    return found


def _counts(table: PoseTable) -> np.ndarray:
    """Return (3, K) numbers of objects whose point is not labelled, hidden, seen."""
    return np.stack([(table.visible == value).sum(0) for value in (0, 1, 2)])


def _listed(names: Sequence[str], limit: int = 8) -> str:
    shown = ', '.join(repr(name) for name in names[:limit])
    return shown + (f' and {len(names) - limit} more' if len(names) > limit else '')


def _of_names(keypoints: Keypoints) -> List[str]:
    if not keypoints.named and keypoints.flip is None:
        return ['the key points have no names (or only numbers), so that nobody can tell which '
                'ones a mirror image exchanges: name them ("keypoints" of the category, or '
                'kpt_names in the data.yaml) or give flip_idx; until then images are not mirrored']
    if keypoints.unpaired:
        return [f'{_listed(keypoints.unpaired)} name one side, and there is no such point of the '
                'other: images are not mirrored; is a name misspelt?']
    return []


def _of_counts(found: PoseReport) -> List[str]:
    names, warnings = found.keypoints.names, []
    table = found.tables['train']
    labels = table.labelled.sum(0)
    never = [name for name, count in zip(names, labels) if not count]
    few = [f'{name} ({count})' for name, count in zip(names, labels) if 0 < count < _FEW]
    hidden = [name for name, count, seen in zip(names, labels, (table.visible == 2).sum(0))
              if count >= _FEW and not seen]
    if never:
        warnings.append(f'{_listed(never)} are never labelled in the training images: the model '
                        'cannot learn them')
    if few:
        warnings.append(f'fewer than {_FEW} labels to learn from for {_listed(few)}')
    if hidden:
        warnings.append(f'{_listed(hidden)} are never visible, always marked hidden (1): is the '
                        'visibility what was meant? 2 is seen, 0 is not labelled')
    bare = int((~table.labelled.any(1)).sum())
    if bare > 0.3 * len(table.visible):
        warnings.append(f'{bare} of {len(table.visible)} training objects have no labelled key '
                        'point: they teach boxes alone')
    return warnings


def _of_places(report: DataReport, tables: Dict[str, PoseTable]) -> List[str]:
    warnings = []
    for name, table in tables.items():
        part = report.splits[name]
        outside = outside_boxes(part.table.boxes, table)
        total = int(table.labelled.sum())
        if outside.sum() > _MANY_OUTSIDE * total:
            first = part.scanned[part.table.images[np.flatnonzero(outside.any(1))[0]]].path.name
            warnings.append(f'{int(outside.sum())} of {total} labelled key points of {name} lie '
                            f'outside the box of their object (for example in {first}): are boxes '
                            'and points of the same objects, and in the same order and unit?')
    return warnings


def outside_boxes(boxes: np.ndarray, table: PoseTable) -> np.ndarray:
    """Return which labelled points lie outside their box by more than a twentieth of it.

    Args:
        boxes (ndarray): (M, 4) xyxy in pixels.
        table (PoseTable): The points.

    Returns:
        ndarray: (M, K) bool.
    """
    margin = _MARGIN * (boxes[:, 2:] - boxes[:, :2])[:, None]
    points = table.points
    out = (points < boxes[:, None, :2] - margin) | (points > boxes[:, None, 2:] + margin)
    return out.any(-1) & table.labelled


def _of_problems(tables: Dict[str, PoseTable]) -> List[str]:
    return [f'{count} {text}' + (f' ({name})' if len(tables) > 1 else '')
            for name, table in tables.items() for text, count in table.problems.items()]
