"""What a pose model does well and badly on labelled images, beyond one number."""
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.evaluation.detection_report import ThresholdCurve, scores_at, threshold_curve
from mmyolonas.evaluation.pose_coco_metric import PoseCocoMetric
from mmyolonas.evaluation.pose_pck_metric import match_by_overlap
from mmyolonas.evaluation.score_thresholds import match_detections
from mmyolonas.utils.names import markdown_cell

_LIMITS = (0.05, 0.1)  # of PCK, shares of the diagonal of the box


@dataclass
class PointScores:
    """Scores of one key point.

    Attributes:
        name (str): Its name.
        labelled (int): Labelled points.
        pck5, pck10 (float): Share found within 5 and 10 % of the diagonal of the object's
            box; points of objects that were not found count as missed. NaN without labels.
        error (float): Middle distance in % of the diagonal, of found objects; NaN without.
        sigma (float): OKS constant.
    """
    name: str
    labelled: int
    pck5: float
    pck10: float
    error: float
    sigma: float


@dataclass
class PoseMistake:
    """One object or pose that is wrong.

    Attributes:
        kind (str): 'missed', 'nothing there' or 'inexact'.
        image (int): Index into ``data['images']``.
        truth (int, optional): Index into ``data['annotations']``.
        found (int, optional): Index into the detections.
        oks (float): Similarity of the two.
        severity (float): 0..1.
    """
    kind: str
    image: int
    truth: Optional[int]
    found: Optional[int]
    oks: float
    severity: float

    def title(self, detections: Sequence[Dict[str, Any]]) -> str:
        """Return what happened in a few words."""
        if self.kind == 'missed':
            return 'missed'
        score = detections[self.found]['score']
        return (f'{score:.2f}: nothing there' if self.kind == 'nothing there'
                else f'{score:.2f}: OKS {self.oks:.2f}')


@dataclass
class PoseReport:
    """How well a pose model does on one part of a data set.

    Attributes:
        split (str): Name of the part.
        images, objects (int): Counts; objects with a labelled key point.
        ap, ap50, ap75 (float): COCO's average precision by OKS, 0..1.
        pck5, pck10 (float): Of all key points.
        threshold (float): Score threshold of the following.
        precision, recall, f1 (float): At OKS 0.5.
        points (list[PointScores]): One for each key point.
        curve (ThresholdCurve): Over all thresholds.
        mistakes (list[PoseMistake]): The worst first.
    """
    split: str
    images: int
    objects: int
    ap: float
    ap50: float
    ap75: float
    pck5: float
    pck10: float
    threshold: float
    precision: float
    recall: float
    f1: float
    points: List[PointScores]
    curve: ThresholdCurve
    mistakes: List[PoseMistake] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return plain values for a JSON file, without curve and mistakes."""
        keys = ('split', 'images', 'objects', 'ap', 'ap50', 'ap75', 'pck5', 'pck10', 'threshold',
                'precision', 'recall', 'f1')
        rows = [{key: None if value != value else value for key, value in asdict(row).items()}
                for row in self.points]
        return {**{key: getattr(self, key) for key in keys}, 'points': rows}

    def to_text(self) -> str:
        """Return the report for a terminal, a Markdown table."""
        lines = [f'OKS AP {self.ap:.3f}, AP50 {self.ap50:.3f}, AP75 {self.ap75:.3f} on '
                 f'{self.images} images with {self.objects} objects ({self.split})',
                 f'key points within 5 % of the diagonal of the box: {self.pck5:.3f}, within 10 %: '
                 f'{self.pck10:.3f}',
                 f'at score {self.threshold:.2f}: precision {self.precision:.3f}, recall '
                 f'{self.recall:.3f}, F1 {self.f1:.3f} (OKS 0.5)', '',
                 '| key point | labelled | PCK@0.05 | PCK@0.1 | middle error, % of the diagonal '
                 '| OKS constant |', '|---|---|---|---|---|---|']
        for row in self.points:
            cells = ['' if value != value else f'{value:.3f}' for value in (row.pck5, row.pck10)]
            error = '' if row.error != row.error else f'{row.error:.1f}'
            lines.append(f'| {markdown_cell(row.name)} | {row.labelled} | {cells[0]} | {cells[1]} '
                         f'| {error} | {row.sigma:g} |')
        return '\n'.join(lines)


def evaluate_poses(split: str, data: Dict[str, Any], detections: List[Dict[str, Any]],
                   names: Sequence[str], sigmas: Sequence[float], ann_file: str,
                   threshold: Optional[float] = None, num_mistakes: int = 24) -> PoseReport:
    """Compare poses with the labels.

    Args:
        split (str): Name of the part, for the report.
        data (dict): Its COCO file with one category; each object has K key points.
        detections (list[dict]): ``image_id``, ``label`` 0, ``score``, ``bbox`` (x, y, width,
            height in pixels) and ``keypoints`` (x, y, score, ... of K points), of all scores.
        names (Sequence[str]): K names.
        sigmas (Sequence[float]): K OKS constants.
        ann_file (str): The file itself, for pycocotools.
        threshold (float, optional): Score threshold; by default that of the best F1 here.
        num_mistakes (int): Mistakes to keep. Defaults to 24.

    Returns:
        PoseReport: AP as ``PoseCocoMetric`` gives it.
    """
    scores = _average_precision(ann_file, data, detections, sigmas)
    name = data['categories'][0]['name']
    matches = list(match_detections(data, detections, [name], 0.5, sigmas).values())
    curve = threshold_curve(matches)
    if threshold is None:
        threshold = float(curve.thresholds[curve.best]) if len(curve.thresholds) else 0.5
    precision, recall, f1 = scores_at(matches, threshold)
    errors, labelled = _point_errors(data, detections)
    points = _of_points(names, sigmas, errors, labelled)
    total = max(1, int(labelled.sum()))
    pck = [float(((errors <= limit) & labelled).sum() / total) for limit in _LIMITS]
    objects = sum(map(_has_points, data['annotations']))
    return PoseReport(
        split, len(data['images']), objects, scores['AP'], scores['AP .5'], scores['AP .75'],
        *pck, threshold, precision, recall, f1, points, curve,
        pose_mistakes(data, detections, sigmas, threshold)[:num_mistakes])


def _average_precision(ann_file: str, data: Dict[str, Any], detections: List[Dict[str, Any]],
                       sigmas: Sequence[float]) -> Dict[str, float]:
    """Return the scores of the metric that validates in training."""
    counts: Dict[Any, int] = defaultdict(int)
    for annotation in data['annotations']:
        counts[annotation['image_id']] += 1
    metric = PoseCocoMetric(ann_file, sigmas, max_dets=max(20, max(counts.values(), default=0)))
    found = [{key: item[key] for key in ('image_id', 'keypoints', 'bbox', 'score')}
             for item in detections]
    return metric.compute_metrics([found])


def _by_image(data: Dict[str, Any], detections: List[Dict[str, Any]]):
    """Yield for each image its index, its objects' and its detections' indices, best first."""
    objects, found = defaultdict(list), defaultdict(list)
    for index, annotation in enumerate(data['annotations']):
        if not annotation.get('iscrowd'):
            objects[annotation['image_id']].append(index)
    for index in sorted(range(len(detections)), key=lambda i: -detections[i]['score']):
        found[detections[index]['image_id']].append(index)
    for number, image in enumerate(data['images']):
        yield number, objects[image['id']], found[image['id']]


def _has_points(annotation: Dict[str, Any]) -> bool:
    return any(value > 0 for value in annotation['keypoints'][2::3])


def _points(items: Sequence[Dict[str, Any]]) -> np.ndarray:
    """Return (N, K, 3)."""
    return np.array([item['keypoints'] for item in items], float).reshape(
        len(items), -1 if items else 1, 3)


def _corners(items: Sequence[Dict[str, Any]]) -> np.ndarray:
    boxes = np.array([item['bbox'] for item in items], float).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _point_errors(data: Dict[str, Any],
                  detections: List[Dict[str, Any]]) -> Tuple[np.ndarray, np.ndarray]:
    """Return distances (M, K) in diagonals, inf where the object was not found; labels (M, K)."""
    errors, labelled = [], []
    for _, objects, found in _by_image(data, detections):
        truth = [data['annotations'][index] for index in objects]
        poses = [detections[index] for index in found]
        if not truth:
            continue
        boxes, points = _corners(truth), _points(truth)
        diagonal = np.maximum(np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T), 1e-9)
        distance = np.full(points.shape[:2], np.inf)
        match = match_by_overlap(_corners(poses), boxes)
        hit = match >= 0
        if hit.any():
            distance[hit] = np.linalg.norm(_points(poses)[match[hit], :, :2] - points[hit, :, :2],
                                           axis=-1) / diagonal[hit, None]
        errors.append(distance)
        labelled.append(points[..., 2] > 0)
    if not errors:
        return np.zeros((0, 1)), np.zeros((0, 1), bool)
    return np.concatenate(errors), np.concatenate(labelled)


def _of_points(names: Sequence[str], sigmas: Sequence[float], errors: np.ndarray,
               labelled: np.ndarray) -> List[PointScores]:
    rows = []
    for index, (name, sigma) in enumerate(zip(names, sigmas)):
        own = errors[labelled[:, index], index] if len(errors) else np.zeros(0)
        found = own[np.isfinite(own)]
        shares = [float((own <= limit).mean()) if len(own) else float('nan') for limit in _LIMITS]
        rows.append(PointScores(name, len(own), *shares,
                                100 * float(np.median(found)) if len(found) else float('nan'),
                                float(sigma)))
    return rows


def similarity(poses: np.ndarray, truth: np.ndarray, areas: np.ndarray,
               sigmas: Sequence[float]) -> np.ndarray:
    """Return the object key-point similarity (OKS, reference.md 6.2) of all pairs.

    Args:
        poses (ndarray): (N, K, 2) or more columns.
        truth (ndarray): (M, K, 3) x, y, visibility.
        areas (ndarray): (M,).
        sigmas (Sequence[float]): (K,).

    Returns:
        ndarray: (N, M); 0 for objects without labelled points.
    """
    distance = ((poses[:, None, :, :2] - truth[None, :, :, :2])**2).sum(-1)
    variances = (2 * np.asarray(sigmas, float))**2
    close = np.exp(-distance / (2 * variances * np.maximum(areas, 1e-9)[None, :, None]))
    seen = truth[..., 2] > 0
    return (close * seen[None]).sum(-1) / np.maximum(seen.sum(-1), 1)[None]


def pose_mistakes(data: Dict[str, Any], detections: List[Dict[str, Any]],
                  sigmas: Sequence[float], threshold: float) -> List[PoseMistake]:
    """Return what is wrong above a score, the worst first and the kinds in turn.

    Args:
        data, detections, sigmas, threshold: See :func:`evaluate_poses`.
    """
    kinds: Dict[str, List[PoseMistake]] = defaultdict(list)
    for image, objects, found in _by_image(data, detections):
        objects = [i for i in objects if _has_points(data['annotations'][i])]
        found = [i for i in found if detections[i]['score'] >= threshold]
        truth = [data['annotations'][index] for index in objects]
        areas = np.array([a.get('area', 0.53 * a['bbox'][2] * a['bbox'][3]) for a in truth])
        values = (similarity(_points([detections[i] for i in found]), _points(truth), areas, sigmas)
                  if truth and found else np.zeros((len(found), len(objects))))
        free = np.ones(len(objects), bool)
        for row, index in enumerate(found):
            own = np.where(free, values[row], -1)
            best = int(own.argmax()) if len(own) else -1
            if best < 0 or own[best] < 0.1:
                kinds['nothing there'].append(PoseMistake(
                    'nothing there', image, None, index, 0.0, detections[index]['score']))
                continue
            free[best] = False
            kinds['inexact'].append(PoseMistake(
                'inexact', image, objects[best], index, float(own[best]), 1 - float(own[best])))
        kinds['missed'] += [PoseMistake('missed', image, objects[i], None, 0.0, 1.0)
                            for i in np.flatnonzero(free)]
    ranked = [sorted(items, key=lambda m: -m.severity) for items in kinds.values()]
    return [items[place] for place in range(max(map(len, ranked), default=0))
            for items in ranked if place < len(items) and items[place].severity > 0.2]
