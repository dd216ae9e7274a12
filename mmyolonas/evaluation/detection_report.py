"""What a detector does well and badly on labelled images, beyond one number."""
import contextlib
import io
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.datasets.inspection.box_table import BoxTable
from mmyolonas.utils.names import markdown_cell

from .ground_truth import max_detections
from .mistakes import Mistake, confusion_and_mistakes
from .score_thresholds import MatchedScores, as_coco, match_detections


@dataclass
class ThresholdCurve:
    """Precision, recall and F1 over the score threshold, all classes together.

    Attributes:
        thresholds (ndarray): (N,) scores, falling.
        precision (ndarray): (N,) of the detections at or above the threshold.
        recall (ndarray): (N,).
    """
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """ndarray: (N,) harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(total > 0, total, 1)

    @property
    def best(self) -> int:
        """int: Index of the best F1; of equal ones the highest threshold."""
        return int(np.argmax(self.f1)) if len(self.thresholds) else -1


@dataclass
class ClassScores:
    """Scores of one class.

    Attributes:
        name (str): Its name.
        objects (int): Labelled objects.
        ap, ap50 (float): Average precision, 0..1; NaN without objects.
        precision, recall, f1 (float): At the report's threshold, IoU 0.5.
        best_threshold (float): Where the class's own F1 is best.
    """
    name: str
    objects: int
    ap: float
    ap50: float
    precision: float
    recall: float
    f1: float
    best_threshold: float


@dataclass
class DetectionReport:
    """How well a detector does on one part of a data set.

    Attributes:
        split (str): Name of the part.
        images (int): Number of images.
        ap, ap50, ap75 (float): COCO's average precision, 0..1.
        threshold (float): Score threshold of the following.
        precision, recall, f1 (float): All classes together, at IoU 0.5.
        classes (list[ClassScores]): One for each class.
        curve (ThresholdCurve): Over all thresholds.
        confusion (ndarray): (C + 1, C + 1): true class by predicted class; the
            last row are detections of nothing, the last column missed objects.
        mistakes (list[Mistake]): The worst first.
    """
    split: str
    images: int
    ap: float
    ap50: float
    ap75: float
    threshold: float
    precision: float
    recall: float
    f1: float
    classes: List[ClassScores]
    curve: ThresholdCurve
    confusion: np.ndarray
    mistakes: List[Mistake] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return plain values for a JSON file, without curve and mistakes."""
        keys = ('split', 'images', 'ap', 'ap50', 'ap75', 'threshold', 'precision', 'recall', 'f1')
        rows = [{key: None if value != value else value for key, value in asdict(row).items()}
                for row in self.classes]
        return {**{key: getattr(self, key) for key in keys}, 'classes': rows,
                'confusion': self.confusion.tolist()}

    def to_text(self) -> str:
        """Return the report for a terminal, a Markdown table."""
        lines = [f'AP {self.ap:.3f}, AP50 {self.ap50:.3f}, AP75 {self.ap75:.3f} on {self.images} '
                 f'images ({self.split})',
                 f'at score {self.threshold:.2f}: precision {self.precision:.3f}, recall '
                 f'{self.recall:.3f}, F1 {self.f1:.3f}', '',
                 '| class | objects | AP | AP50 | precision | recall | F1 | own best score |',
                 '|---|---|---|---|---|---|---|---|']
        for row in self.classes:
            scores = ('no objects' if row.ap != row.ap else f'{row.ap:.3f}',
                      '' if row.ap50 != row.ap50 else f'{row.ap50:.3f}', f'{row.precision:.3f}',
                      f'{row.recall:.3f}', f'{row.f1:.3f}', f'{row.best_threshold:.2f}')
            name = markdown_cell(row.name)
            lines.append(f'| {name} | {row.objects} | ' + ' | '.join(scores) + ' |')
        return '\n'.join(lines)


def evaluate_detections(split: str,
                        data: Dict[str, Any],
                        table: BoxTable,
                        detections: List[Dict[str, Any]],
                        classes: Sequence[str],
                        threshold: Optional[float] = None,
                        num_mistakes: int = 24) -> DetectionReport:
    """Compare detections with the labels.

    Args:
        split (str): Name of the part, for the report.
        data (dict): Its COCO file.
        table (BoxTable): Its boxes.
        detections (list[dict]): ``image_id``, ``label`` (index into ``classes``),
            ``score`` and ``bbox`` (x, y, width, height in pixels), of all scores.
        classes (Sequence[str]): Class names.
        threshold (float, optional): Score threshold of precision, recall,
            confusion and mistakes; by default that of the best F1 here. To be
            honest it is chosen on one part and used on another.
        num_mistakes (int): Mistakes to keep. Defaults to 24.

    Returns:
        DetectionReport: AP as ``CheckedCocoMetric`` gives it, and pycocotools where no
        image has more than 100 objects of a class.
    """
    matches = match_detections(data, detections, classes)
    curve = threshold_curve(list(matches.values()))
    if threshold is None:
        threshold = float(curve.thresholds[curve.best]) if len(curve.thresholds) else 0.5
    precision, recall, f1 = scores_at(list(matches.values()), threshold)
    ap = _average_precision(data, detections, classes)
    rows = []
    for label, (name, match) in enumerate(matches.items()):
        own = threshold_curve([match])
        best = float(own.thresholds[own.best]) if own.best >= 0 else float('nan')
        rows.append(ClassScores(
            name, match.num_objects, _mean(ap[:, :, label]), _mean(ap[0, :, label]),
            *scores_at([match], threshold), best))
    confusion, mistakes = confusion_and_mistakes(data, table, detections, len(classes), threshold)
    return DetectionReport(
        split, len(data['images']), _mean(ap, 0.), _mean(ap[0], 0.), _mean(ap[5], 0.), threshold,
        precision, recall, f1, rows, curve, confusion, mistakes[:num_mistakes])


def threshold_curve(matches: Sequence[MatchedScores]) -> ThresholdCurve:
    """Return precision and recall over all thresholds.

    Args:
        matches (Sequence[MatchedScores]): Of the classes to take together.
    """
    scores = np.concatenate([match.scores for match in matches] or [np.zeros(0)])
    hits = np.concatenate([match.hits for match in matches] or [np.zeros(0, bool)])
    objects = sum(match.num_objects for match in matches)
    order = np.argsort(-scores, kind='stable')
    scores, found = scores[order], np.cumsum(hits[order])
    last = np.append(scores[1:] != scores[:-1], True)[:len(scores)]
    count = np.arange(1, len(scores) + 1)
    return ThresholdCurve(scores[last], (found / count)[last], (found / max(objects, 1))[last])


def scores_at(matches: Sequence[MatchedScores], threshold: float) -> tuple:
    """Return precision, recall and F1 of the detections at or above a threshold."""
    kept = [match.scores >= threshold for match in matches]
    hits = sum(int(match.hits[keep].sum()) for match, keep in zip(matches, kept))
    count = sum(int(keep.sum()) for keep in kept)
    objects = sum(match.num_objects for match in matches)
    precision, recall = hits / max(count, 1), hits / max(objects, 1)
    return precision, recall, 2 * hits / max(count + objects, 1)


def _average_precision(data: Dict[str, Any], detections: List[Dict[str, Any]],
                       classes: Sequence[str]) -> np.ndarray:
    """Return pycocotools' precision (IoU, recall, class); -1 for classes without objects."""
    from pycocotools.cocoeval import COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        truth = as_coco(data, classes)
        if not detections:
            present = {a['category_id'] - 1 for a in truth.dataset['annotations']}
            empty = np.full((10, 101, len(classes)), -1.)
            empty[:, :, sorted(present)] = 0
            return empty
        results = truth.loadRes([dict(d, category_id=d['label'] + 1) for d in detections])
        evaluator = COCOeval(truth, results, 'bbox')
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.params.maxDets = [max_detections(truth.dataset['annotations'])]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['precision'][:, :, :, 0, 0]


def _mean(precision: np.ndarray, absent: float = float('nan')) -> float:
    """Return the mean without the entries of absent classes."""
    valid = precision[precision > -1]
    return float(valid.mean()) if len(valid) else absent
