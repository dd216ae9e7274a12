"""COCO's key-point metric for real-world annotation files."""
import contextlib
import copy
import io
import json
from collections import OrderedDict
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_text

from mmyolonas.evaluation.ground_truth import complete_annotations
from mmyolonas.registry import METRICS

_NAMES = ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR', 'AR .5', 'AR .75', 'AR (M)',
          'AR (L)')


@METRICS.register_module()
class PoseCocoMetric(BaseMetric):
    """Average precision over object key-point similarity, by pycocotools.

    Gives the numbers of mmpose's ``CocoMetric(score_mode='bbox',
    nms_mode='none')``, under the same names, and copes with what that does not:

    - pycocotools takes a ground truth with the annotation id 0 for "no match",
      so it counts a hit on it as a mistake. Exports that begin at 0 are
      renumbered from 1.
    - ``area``, ``iscrowd`` and ``num_keypoints`` may be missing from the file;
      the area is then 0.53 of the box.
    - The number of key points and of sigmas is checked, with a message.
    - The id of the category need not be 1.

    Args:
        ann_file (str): COCO key-point annotations of the data set.
        sigmas (Sequence[float], optional): OKS constants; None takes them from
            the data set's metainfo. Defaults to None.
        max_dets (int): Poses of an image that count. Defaults to 20, as COCO.
        kwargs: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'coco'

    def __init__(self, ann_file: str, sigmas: Sequence[float] = None, max_dets: int = 20,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.sigmas = sigmas
        self.max_dets = max_dets

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Collect the poses of a batch, in pixels of the original images.

        Args:
            data_batch (Sequence[dict]): Not used.
            data_samples (Sequence[dict]): With ``img_id`` and
                ``pred_instances``: ``keypoints`` (N, K, 2), ``keypoint_scores``
                (N, K), ``bbox_scores`` (N,) and ``bboxes`` (N, 4) xyxy.
        """
        for sample in data_samples:
            poses = sample['pred_instances']
            points = np.concatenate(
                [poses['keypoints'], poses['keypoint_scores'][..., None]], axis=-1)
            boxes = np.array(poses['bboxes'], dtype=np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            rows = [
                dict(image_id=int(sample['img_id']), keypoints=pose.ravel().tolist(), bbox=box,
                     score=score)
                for pose, box, score in zip(
                    points.astype(float), boxes.tolist(),
                    np.asarray(poses['bbox_scores'], float).tolist())
            ]
            self.results.append(rows)

    def compute_metrics(self, results: List[List[dict]]) -> Dict[str, float]:
        """Return COCO's ten key-point scores; 0 if nothing was detected."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
        truth = self._load_truth()
        poses = [copy.copy(row) for rows in results for row in rows]
        if not poses:
            return OrderedDict((name, 0.0) for name in _NAMES)
        category = truth['categories'][0]['id']
        for row in poses:
            row['category_id'] = category
        with contextlib.redirect_stdout(io.StringIO()):
            ground_truth = COCO()
            ground_truth.dataset = truth
            ground_truth.createIndex()
            evaluation = COCOeval(ground_truth, ground_truth.loadRes(poses), 'keypoints')
            evaluation.params.kpt_oks_sigmas = self._checked_sigmas(truth)
            evaluation.params.maxDets = [self.max_dets]
            evaluation.params.catIds = [category]
            evaluation.evaluate()
            evaluation.accumulate()
        return self._summary(evaluation)

    @staticmethod
    def _summary(evaluation) -> Dict[str, float]:
        """Return means over thresholds and areas; -1 where there is no object."""
        precision = evaluation.eval['precision'][:, :, 0, :, -1]  # T, R, A
        recall = evaluation.eval['recall'][:, 0, :, -1]  # T, A

        def mean(values: np.ndarray) -> float:
            values = values[values > -1]
            return float(values.mean()) if values.size else -1.0

        scores = []
        for table in (precision, recall):
            scores += [mean(table[..., 0]), mean(table[0, ..., 0]), mean(table[5, ..., 0]),
                       mean(table[..., 1]), mean(table[..., 2])]
        return OrderedDict(zip(_NAMES, scores))

    def _load_truth(self) -> dict:
        """Return the annotations with what pycocotools needs filled in."""
        truth = json.loads(get_text(self.ann_file))
        for field in ('images', 'annotations', 'categories'):
            if field not in truth:
                raise ValueError(f"{self.ann_file} has no '{field}': it is not a COCO key-point "
                                 'annotation file.')
        truth['annotations'] = [
            annotation for annotation in truth['annotations'] if 'keypoints' in annotation]
        truth['categories'] = truth['categories'] or [dict(id=1, name='object')]
        used = {annotation['category_id'] for annotation in truth['annotations']}
        truth['categories'].sort(key=lambda category: category['id'] not in used)
        for annotation in truth['annotations']:
            annotation['category_id'] = truth['categories'][0]['id']
        complete_annotations(truth['annotations'])
        return truth

    def _checked_sigmas(self, truth: dict) -> np.ndarray:
        """Return the sigmas if they fit the annotations."""
        sigmas = self.sigmas
        if sigmas is None:
            sigmas = (self.dataset_meta or {}).get('sigmas')
        if sigmas is None:
            raise ValueError(
                "PoseCocoMetric: no sigmas; set them in the data set's metainfo or give them.")
        for annotation in truth['annotations']:
            found = len(annotation['keypoints']) // 3
            if found != len(sigmas):
                raise ValueError(
                    f'{Path(self.ann_file).name}: an annotation of image '
                    f'{annotation["image_id"]} has {found} key points, but there are '
                    f'{len(sigmas)} sigmas; they must be equal.')
        return np.asarray(sigmas, dtype=float)
