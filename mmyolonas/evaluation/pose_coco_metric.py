"""COCO's key-point metric for real-world annotation files."""
import contextlib
import copy
import io
import json
import logging
from collections import Counter, OrderedDict
from typing import Dict, List, Optional, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from mmyolonas.datasets.formats.coco_checks import box_array, read_coco
from mmyolonas.datasets.formats.pose_checks import clean_poses
from mmyolonas.evaluation.ground_truth import complete_annotations
from mmyolonas.registry import METRICS
from mmyolonas.utils.files import write_text

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
        max_dets (int): Poses of an image that count. Defaults to 20, as COCO; a
            warning says so where an image has more.
        outfile_prefix (str, optional): Begin of the name of a result file,
            ``<prefix>.keypoints.json``, with the ids of the annotation file.
        kwargs: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'coco'

    def __init__(self, ann_file: str, sigmas: Sequence[float] = None, max_dets: int = 20,
                 outfile_prefix: Optional[str] = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.sigmas = sigmas
        self.max_dets = max_dets
        self.outfile_prefix = outfile_prefix

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
                dict(image_id=sample['img_id'], keypoints=pose.ravel().tolist(), bbox=box,
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
        sigmas = self._checked_sigmas()
        truth = self._load_truth(len(sigmas))
        poses = [copy.copy(row) for rows in results for row in rows]
        category = truth['categories'][0]['id']
        known = {image['id'] for image in truth['images']}
        of_file = {own: new for new, own in self._own['images'].items()}
        for row in poses:
            row['category_id'] = category
            if row['image_id'] not in known:  # of mmpose's own data set
                row['image_id'] = of_file.get(row['image_id'], row['image_id'])
        self._write(poses)
        if not poses:
            return OrderedDict((name, 0.0) for name in _NAMES)
        most = max(Counter(a['image_id'] for a in truth['annotations']).values(), default=0)
        if most > self.max_dets:
            print_log(f'{self.ann_file}: an image has {most} objects, and {self.max_dets} poses of '
                      'an image count: set max_dets of the metric (and max_per_img of the model), '
                      'or the scores are capped', logger='current', level=logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):
            ground_truth = COCO()
            ground_truth.dataset = truth
            ground_truth.createIndex()
            evaluation = COCOeval(ground_truth, ground_truth.loadRes(poses), 'keypoints')
            evaluation.params.kpt_oks_sigmas = sigmas
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

    def _load_truth(self, num_keypoints: int) -> dict:
        """Return the annotations with what pycocotools needs filled in."""
        with get_local_path(self.ann_file) as path:
            truth, own = read_coco(path, str(self.ann_file))
        sizes = {image['id'] for image in truth['images']}
        found = [a for a in truth['annotations'] if a['image_id'] in sizes]
        sound = np.isfinite(box_array(found, str(self.ann_file))).all(1)
        truth['annotations'] = [a for a, keep in zip(found, sound) if keep]
        clean_poses(truth, num_keypoints, str(self.ann_file))
        truth['categories'] = truth['categories'] or [dict(id=1, name='object')]
        used = {annotation['category_id'] for annotation in truth['annotations']}
        truth['categories'].sort(key=lambda category: category['id'] not in used)
        for annotation in truth['annotations']:
            annotation['category_id'] = truth['categories'][0]['id']
        complete_annotations(truth['annotations'])
        self._own = own
        return truth

    def _write(self, poses: List[dict]) -> None:
        """Write a result file as test servers expect it, with the file's own ids."""
        if self.outfile_prefix is not None:
            rows = [dict(row, image_id=self._own['images'].get(row['image_id'], row['image_id']),
                         category_id=self._own['categories'].get(row['category_id'],
                                                                 row['category_id']))
                    for row in poses]
            write_text(f'{self.outfile_prefix}.keypoints.json', json.dumps(rows))

    def _checked_sigmas(self) -> np.ndarray:
        """Return the sigmas, one for each key point."""
        sigmas = self.sigmas
        if sigmas is None:
            sigmas = (self.dataset_meta or {}).get('sigmas')
        if sigmas is None:
            raise ValueError(
                "PoseCocoMetric: no sigmas; set them in the data set's metainfo or give them.")
        return np.asarray(sigmas, dtype=float)
