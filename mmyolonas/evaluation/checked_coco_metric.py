"""mmdet's COCO metric for real-world annotation files."""
import contextlib
import io
import json
import logging
import os.path as osp
import tempfile
from collections import Counter
from typing import Dict, List, Optional, Sequence

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import CocoMetric
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from mmyolonas.datasets.formats.coco_checks import (
    box_array,
    map_categories,
    read_coco,
)
from mmyolonas.evaluation.ground_truth import complete_annotations, max_detections
from mmyolonas.registry import METRICS
from mmyolonas.utils.files import write_text

_DEFAULT_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_COCO_DETECTIONS = 100


@METRICS.register_module()
class CheckedCocoMetric(CocoMetric):
    """COCO's average precision, computed by pycocotools as in mmdet.

    A drop-in for mmdet's ``CocoMetric``; on a file such as COCO's own the
    numbers are the same. What is different:

    - Labels are matched with categories by name, in the order of the data
      set's ``classes``, as ``mmyolonas.CheckedCocoDataset`` does. Result files
      (``outfile_prefix``) have the file's own ids of images and categories, as
      test servers expect.
    - pycocotools takes a ground truth with the annotation id 0 for "no
      match", so it counts a hit on it as a mistake. Roboflow exports begin
      at 0; ids are renumbered from 1.
    - ``info``, ``area`` and ``iscrowd`` may be missing from the file.
    - No detections at all give the scores 0 and not none, so that choosing
      the best checkpoint does not fail in the first epochs.
    - Where an image has more than 100 objects of a class, so many detections of it
      count, and a warning says so; ``bbox_mAP_100`` is COCO's own score then.

    Args:
        ann_file (str, optional): COCO file; None takes the data set's instances.
        strict (bool): Whether classes that the file lacks are an error.
            Defaults to True.
        kwargs: See mmdet's ``CocoMetric``.

    Raises:
        DataError: The file is damaged or not in COCO format.
    """

    def __init__(self, ann_file: Optional[str] = None, *args, strict: bool = True,
                 **kwargs) -> None:
        self.strict = strict
        super().__init__(None, *args, **kwargs)
        self._file_ids: Optional[Dict[str, Dict]] = None
        self._ann_file = ann_file
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=self.backend_args) as path:
                data, self._file_ids = read_coco(path, ann_file, not self.format_only)
            self._coco_api = COCO()
            self._coco_api.dataset = data
            # a plain mmdet data set speaks of the file's own ids
            self._known = {own: new for new, own in self._file_ids['images'].items()}

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            results (list): Ground truths and predictions of all images.

        Returns:
            dict[str, float]: See mmdet's ``CocoMetric``.
        """
        if self.cat_ids is None and self._coco_api is not None:
            self._normalise_ground_truth()
        with tempfile.TemporaryDirectory() as self._scratch:
            metrics = super().compute_metrics(results)
        if not metrics and not self.format_only and 'bbox' in self.metrics:
            items = self.metric_items or _DEFAULT_ITEMS
            metrics = {f'bbox_{item}': 0. for item in items}
        elif 'bbox' in self.metrics and not self.format_only:
            self._count_all(metrics, [prediction for _, prediction in results])
        return metrics

    def _normalise_ground_truth(self) -> None:
        """Number categories by label and annotations from 1, and fill what is missing."""
        data = self._coco_api.dataset
        data.setdefault('info', {})
        classes = self.dataset_meta['classes']
        categories = map_categories(data, classes, str(self._ann_file), self.strict)
        own = self._file_ids['categories']
        self._own_categories = [own.get(key) for key in categories.cat_ids]
        data['categories'] = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
        annotations = [a for a in data['annotations'] if a['category_id'] in categories.labels
                       and a['image_id'] in sizes]
        finite = np.isfinite(box_array(annotations, str(self._ann_file))).all(1)
        annotations = [a for a, sound in zip(annotations, finite) if sound]
        for annotation in annotations:
            annotation['category_id'] = categories.labels[annotation['category_id']] + 1
        complete_annotations(annotations)
        data['annotations'] = annotations
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api.createIndex()
        self._coco_api.img_ann_map = self._coco_api.imgToAnns
        self._coco_api.cat_img_map = self._coco_api.catToImgs
        self.cat_ids = list(range(1, len(classes) + 1))

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict:
        """Write detections, for the user with the file's own ids.

        Args:
            results (Sequence[dict]): Predictions of all images.
            outfile_prefix (str): Begin of the files' names.

        Returns:
            dict: Paths by kind, of the files that are evaluated.
        """
        if self._file_ids is None:
            return super().results2json(results, outfile_prefix)
        for result in results:
            if result['img_id'] not in self._coco_api.imgs:
                result['img_id'] = self._known.get(result['img_id'], result['img_id'])
        files = super().results2json(results, osp.join(self._scratch, 'results'))
        if self.outfile_prefix is not None:
            for path in dict.fromkeys(files.values()):
                self._write_for_user(path)
        return files

    def _write_for_user(self, path: str) -> None:
        with open(path) as file:
            rows = json.load(file)
        kept = []
        for row in rows:
            category = self._own_categories[row['category_id'] - 1]
            if category is not None:  # else no id of the file says what it is
                kept.append(dict(row, category_id=category,
                                 image_id=self._file_ids['images'].get(row['image_id'],
                                                                       row['image_id'])))
        suffix = osp.basename(path).removeprefix('results')
        write_text(self.outfile_prefix + suffix, json.dumps(kept))

    def _count_all(self, metrics: Dict[str, float], predictions: List[dict]) -> None:
        """Count as many detections as there are objects where 100 are too few; say so."""
        annotations = self._coco_api.dataset['annotations']
        self._warn_of_cap(annotations, predictions)
        most = max_detections(annotations)
        if most <= _COCO_DETECTIONS:
            return
        files = [dict(image_id=p['img_id'], category_id=self.cat_ids[label], score=float(score),
                      bbox=self.xyxy2xywh(box))
                 for p in predictions
                 for label, score, box in zip(p['labels'], p['scores'], p['bboxes'])]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self._coco_api, self._coco_api.loadRes(files), 'bbox')
            evaluation.params.catIds, evaluation.params.imgIds = self.cat_ids, self.img_ids
            evaluation.params.iouThrs, evaluation.params.maxDets = self.iou_thrs, [most]
            evaluation.evaluate()
            evaluation.accumulate()
        table = evaluation.eval['precision'][..., 0]  # T, R, K, A
        low, high = (np.flatnonzero(np.isclose(self.iou_thrs, t)) for t in (0.5, 0.75))
        parts = dict(mAP=table[..., 0], mAP_50=table[low][..., 0], mAP_75=table[high][..., 0],
                     mAP_s=table[..., 1], mAP_m=table[..., 2], mAP_l=table[..., 3])
        before = metrics.get('bbox_mAP')
        for item in parts:
            if f'bbox_{item}' in metrics:
                metrics[f'bbox_{item}'] = round(_mean(parts[item], -1.), 3)
        if before is not None:
            metrics['bbox_mAP_100'] = before
        if self.classwise:
            for index, name in enumerate(self.dataset_meta['classes']):
                metrics[f'{name}_precision'] = round(_mean(table[:, :, index, 0], np.nan), 3)
        _warn(f'an image has {most} objects of one class, and COCO counts {_COCO_DETECTIONS} '
              f'detections: up to {most} count here'
              + ('' if before is None else f", with COCO's {_COCO_DETECTIONS} mAP is {before}"))

    def _warn_of_cap(self, annotations: List[dict], predictions: List[dict]) -> None:
        """Say if images have more objects than the model gives detections."""
        counts = Counter(a['image_id'] for a in annotations if not a['iscrowd'])
        cap = max((len(p['labels']) for p in predictions), default=0)
        capped = [counts[p['img_id']] for p in predictions
                  if len(p['labels']) == cap and counts[p['img_id']] > cap > 0]
        if capped:
            _warn(f'{len(capped)} images have more objects (up to {max(capped)}) than the {cap} '
                  'detections that the model gives of an image: raise model.test_cfg.max_per_img '
                  '(and nms_pre), or the scores are capped')


def _mean(values: np.ndarray, absent: float) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else absent


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
