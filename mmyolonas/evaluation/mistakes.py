"""Which class is taken for which, and the single mistakes."""
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.inspection.box_table import BoxTable
from mmyolonas.utils.boxes import pairwise_iou


@dataclass
class Mistake:
    """One mistake of a detector.

    Attributes:
        kind (str): 'missed', 'nothing there' or 'wrong class'.
        image (int): Index into ``data['images']``.
        box (ndarray): (4,) xyxy in pixels, of the object if there is one.
        truth (int, optional): Class of the object.
        predicted (int, optional): Class that was predicted.
        score (float): Score of the prediction; for a missed object the best
            score of its class there, below the threshold.
        severity (float): 0..1; a confident mistake is worse.
    """
    kind: str
    image: int
    box: np.ndarray
    truth: Optional[int]
    predicted: Optional[int]
    score: float
    severity: float

    def title(self, classes: Sequence[str]) -> str:
        """Return what happened in a few words."""
        if self.kind == 'missed':
            return f'{classes[self.truth]} missed'
        seen = f'{classes[self.predicted]} {self.score:.2f}'
        return f'{seen}: nothing there' if self.truth is None else (
            f'{seen}: is {classes[self.truth]}')


def confusion_and_mistakes(data: Dict[str, Any], table: BoxTable,
                           detections: List[Dict[str, Any]], num_classes: int, threshold: float,
                           iou_thr: float = 0.5) -> Tuple[np.ndarray, List[Mistake]]:
    """Match detections with objects whatever their class.

    Best scores first, each detection takes the free object of its class that it
    overlaps most, else that of another class, with at least ``iou_thr``.
    Detections on crowds are ignored.

    Args:
        data (dict): COCO file.
        table (BoxTable): Its boxes.
        detections (list[dict]): See ``evaluate_detections``.
        num_classes (int): Number of classes.
        threshold (float): Smallest score of a detection.
        iou_thr (float): Smallest overlap. Defaults to 0.5.

    Returns:
        tuple[ndarray, list[Mistake]]: (C + 1, C + 1) counts, true class by
        predicted class, with "nothing" last; and the mistakes, worst first.
    """
    by_image = defaultdict(list)
    for detection in detections:
        by_image[detection['image_id']].append(detection)
    order = np.argsort(table.images, kind='stable')
    ends = np.searchsorted(table.images[order], np.arange(len(data['images']) + 1))
    confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    mistakes: List[Mistake] = []
    for index, image in enumerate(data['images']):
        rows = order[ends[index]:ends[index + 1]]
        mistakes += _of_image(index, table, rows, by_image[image['id']], confusion, threshold,
                              iou_thr)
    return confusion, _varied(sorted(mistakes, key=lambda mistake: -mistake.severity))


def _of_image(index: int, table: BoxTable, rows: np.ndarray, found: List[dict],
              confusion: np.ndarray, threshold: float, iou_thr: float) -> List[Mistake]:
    """Return the mistakes in one image; count in ``confusion``."""
    found = sorted(found, key=lambda detection: -detection['score'])
    boxes = np.array([d['bbox'] for d in found], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    crowd = table.crowd[rows]
    overlaps = pairwise_iou(boxes, table.boxes[rows], crowd)
    labels, free = table.labels[rows], ~crowd
    nothing = len(confusion) - 1
    mistakes = []
    for number, detection in enumerate(found):
        if detection['score'] < threshold:
            break
        label, score = detection['label'], float(detection['score'])
        # objects of its own class first
        value = np.where(free & (overlaps[number] >= iou_thr),
                         overlaps[number] + 2 * (labels == label), 0)
        if len(value) and value.max() > 0:
            match = int(value.argmax())
            free[match] = False
            confusion[labels[match], label] += 1
            if labels[match] != label:
                mistakes.append(Mistake('wrong class', index, table.boxes[rows[match]],
                                        int(labels[match]), label, score, score))
        elif not (crowd & (overlaps[number] >= iou_thr)).any():
            confusion[nothing, label] += 1
            mistakes.append(Mistake('nothing there', index, boxes[number], None, label, score,
                                    score))
    for match in np.flatnonzero(free):
        confusion[labels[match], nothing] += 1
        near = [d['score'] for d, row in zip(found, overlaps)
                if d['label'] == labels[match] and row[match] >= iou_thr
                and d['score'] < threshold]
        best = float(max(near, default=0))
        mistakes.append(Mistake('missed', index, table.boxes[rows[match]], int(labels[match]),
                                None, best, 1 - best))
    return mistakes


def _varied(mistakes: List[Mistake]) -> List[Mistake]:
    """Return the mistakes with the kinds in turn, those of other images first."""
    kinds: Dict[str, List[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        kinds[mistake.kind].append(mistake)
    ordered = []
    for found in kinds.values():
        seen: Dict[int, int] = defaultdict(int)
        ranked = []
        for position, mistake in enumerate(found):
            ranked.append((seen[mistake.image], position, mistake))
            seen[mistake.image] += 1
        ordered.append([mistake for *_, mistake in sorted(ranked, key=lambda item: item[:2])])
    longest = max(map(len, ordered), default=0)
    return [found[position] for position in range(longest) for found in ordered
            if position < len(found)]
