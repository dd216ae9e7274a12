"""mmdet's COCO metric for real-world annotation files."""
import contextlib
import io
from typing import Dict

from mmdet.evaluation import CocoMetric

from mmyolonas.datasets.formats.coco_checks import map_categories
from mmyolonas.evaluation.ground_truth import complete_annotations
from mmyolonas.registry import METRICS

_DEFAULT_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class CheckedCocoMetric(CocoMetric):
    """COCO's average precision, computed by pycocotools as in mmdet.

    A drop-in for mmdet's ``CocoMetric``; on a file such as COCO's own the
    numbers are the same. What is different:

    - Labels are matched with categories by name, in the order of the data
      set's ``classes``, as ``mmyolonas.CheckedCocoDataset`` does.
    - pycocotools takes a ground truth with the annotation id 0 for "no
      match", so it counts a hit on it as a mistake. Roboflow exports begin
      at 0; ids are renumbered from 1.
    - ``info``, ``area`` and ``iscrowd`` may be missing from the file.
    - No detections at all give the scores 0 and not none, so that choosing
      the best checkpoint does not fail in the first epochs.

    Args:
        strict (bool): Whether classes that the file lacks are an error.
            Defaults to True.
        kwargs: See mmdet's ``CocoMetric``.
    """

    def __init__(self, *args, strict: bool = True, **kwargs) -> None:
        self.strict = strict
        super().__init__(*args, **kwargs)

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            results (list): Ground truths and predictions of all images.

        Returns:
            dict[str, float]: See mmdet's ``CocoMetric``.
        """
        if self.cat_ids is None and self._coco_api is not None:
            self._normalise_ground_truth()
        metrics = super().compute_metrics(results)
        if not metrics and not self.format_only and 'bbox' in self.metrics:
            items = self.metric_items or _DEFAULT_ITEMS
            metrics = {f'bbox_{item}': 0. for item in items}
        return metrics

    def _normalise_ground_truth(self) -> None:
        """Number categories by label and annotations from 1, and fill what is missing."""
        data = self._coco_api.dataset
        data.setdefault('info', {})
        data.setdefault('annotations', [])
        classes = self.dataset_meta['classes']
        labels = map_categories(data, classes, 'ground truth', self.strict).labels
        data['categories'] = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        annotations = [a for a in data['annotations'] if a['category_id'] in labels]
        for annotation in annotations:
            annotation['category_id'] = labels[annotation['category_id']] + 1
        complete_annotations(annotations)
        data['annotations'] = annotations
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api.createIndex()
        self.cat_ids = list(range(1, len(classes) + 1))
