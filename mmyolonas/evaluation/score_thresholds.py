"""Score thresholds that reach a precision on labelled images."""
import contextlib
import io
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.datasets.formats.coco_checks import map_categories
from mmyolonas.evaluation.ground_truth import max_detections


@dataclass
class MatchedScores:
    """Detections of one class on labelled images.

    Attributes:
        scores (ndarray): (N,) within [0, 1].
        hits (ndarray): (N,) bool, True where an object was found.
        num_objects (int): Labelled objects of the class.
    """
    scores: np.ndarray
    hits: np.ndarray
    num_objects: int


@dataclass
class ClassThreshold:
    """The threshold of one class and what it gives on the labelled images.

    Attributes:
        name (str): Class name.
        threshold (float): Smallest score to keep; above 1 where nothing is kept.
        precision (float): Share of the kept detections that are right.
        recall (float): Share of the objects that are found.
        kept (int): Kept detections.
        basis (str): 'class'; 'all classes' where the class alone has too few
            hits to tell; 'none' where no threshold reaches the precision.
    """
    name: str
    threshold: float
    precision: float
    recall: float
    kept: int
    basis: str


def precision_threshold(scores: np.ndarray, hits: np.ndarray, target: float,
                        min_hits: int = 1) -> Optional[float]:
    """Return the smallest score at or above which the precision is ``target``.

    Args:
        scores (ndarray): (N,) scores.
        hits (ndarray): (N,) bool.
        target (float): Precision within (0, 1].
        min_hits (int): Right detections there must be. Defaults to 1.

    Returns:
        float | None: One of the scores; None if there is no such score.
    """
    order = np.argsort(-scores, kind='stable')
    scores, hits = scores[order], hits[order].astype(bool)
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(scores) + 1)
    last_of_ties = np.append(scores[1:] != scores[:-1], True)[:len(scores)]
    good = np.flatnonzero((precision >= target) & (found >= min_hits) & last_of_ties)
    return float(scores[good[-1]]) if len(good) else None


def class_thresholds(matches: Dict[str, MatchedScores], target: float,
                     min_hits: int = 5) -> List[ClassThreshold]:
    """Choose each class's threshold.

    A class with fewer than ``min_hits`` right detections takes the threshold of
    all classes together; one that never reaches the precision is left out.

    Args:
        matches (dict): Matched detections by class name.
        target (float): Precision within (0, 1].
        min_hits (int): See above. Defaults to 5.
    """
    pooled = precision_threshold(
        np.concatenate([m.scores for m in matches.values()] or [np.zeros(0)]),
        np.concatenate([m.hits for m in matches.values()] or [np.zeros(0, bool)]),
        target, min_hits)
    results = []
    for name, match in matches.items():
        basis, threshold = 'class', precision_threshold(match.scores, match.hits, target, min_hits)
        if match.hits.sum() < min_hits:
            basis, threshold = 'all classes', pooled
        if threshold is None:
            basis, threshold = 'none', 2.0
        results.append(_measured(name, match, threshold, basis))
    return results


def _measured(name: str, match: MatchedScores, threshold: float, basis: str) -> ClassThreshold:
    kept = match.scores >= threshold
    hits, count = int(match.hits[kept].sum()), int(kept.sum())
    return ClassThreshold(name, threshold, hits / count if count else 0.0,
                          hits / max(match.num_objects, 1), count, basis)


def match_detections(data: Dict[str, Any],
                     detections: List[Dict[str, Any]],
                     classes: Sequence[str],
                     iou_thr: float = 0.5,
                     sigmas: Optional[Sequence[float]] = None) -> Dict[str, MatchedScores]:
    """Match detections with a COCO file by pycocotools' rules.

    Args:
        data (dict): COCO file; crowds are ignored, as are detections on them.
        detections (list[dict]): ``image_id``, ``label`` (index into ``classes``),
            ``score``, ``bbox`` (x, y, width, height) and, for poses,
            ``keypoints`` (x, y, score, ...).
        classes (Sequence[str]): Class names.
        iou_thr (float): Overlap (OKS for poses) of a hit. Defaults to 0.5.
        sigmas (Sequence[float], optional): Of the key points; matches poses.

    Returns:
        dict[str, MatchedScores]: By class name.
    """
    from pycocotools.cocoeval import COCOeval
    kind = 'bbox' if sigmas is None else 'keypoints'
    with contextlib.redirect_stdout(io.StringIO()):
        truth = as_coco(data, classes)
        entries = [dict(d, category_id=d['label'] + 1) for d in detections]
        results = truth.loadRes(entries) if entries else as_coco(dict(data, annotations=[]),
                                                                  classes)
        evaluator = COCOeval(truth, results, kind)
        if sigmas is not None:
            evaluator.params.kpt_oks_sigmas = np.asarray(sigmas, float)
        evaluator.params.iouThrs = np.array([iou_thr])
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.params.maxDets = [max(1000, max_detections(truth.dataset['annotations']))]
        evaluator.evaluate()
    matches: Dict[str, MatchedScores] = {}
    for label, name in enumerate(classes):
        found = [image for image in evaluator.evalImgs
                 if image is not None and image['category_id'] == label + 1]
        scores = np.concatenate([image['dtScores'] for image in found] or [[]])
        hits = np.concatenate([image['dtMatches'][0] for image in found] or [[]]) > 0
        counted = ~np.concatenate([image['dtIgnore'][0] for image in found] or [[]]).astype(bool)
        objects = sum(int((~np.asarray(image['gtIgnore'], bool)).sum()) for image in found)
        matches[name] = MatchedScores(scores[counted], hits[counted], objects)
    return matches


def as_coco(data: Dict[str, Any], classes: Sequence[str]):
    """Return pycocotools' object with categories 1.. in the order of ``classes``.

    Annotations are numbered from 1: pycocotools takes id 0 for "no match".
    """
    from pycocotools.coco import COCO
    labels = map_categories(data, classes, 'the labelled file', strict=False).labels
    coco = COCO()
    annotations = [dict(a, category_id=labels[a['category_id']] + 1, id=index,
                        area=a.get('area', a['bbox'][2] * a['bbox'][3]),
                        iscrowd=int(bool(a.get('iscrowd', 0))))
                   for index, a in enumerate(data['annotations'], 1)
                   if a['category_id'] in labels]
    coco.dataset = dict(info={}, images=data['images'], annotations=annotations,
                        categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)])
    coco.createIndex()
    return coco
