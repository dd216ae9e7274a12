"""Loading boxes with weights."""
from typing import Dict

from mmdet.datasets.transforms import LoadAnnotations

from mmyolonas.datasets.weighted_labels import pack_weights
from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadWeightedAnnotations(LoadAnnotations):
    """mmdet's ``LoadAnnotations``, and each object's ``weight``.

    The weight travels within the label, see :mod:`mmyolonas.datasets.weighted_labels`;
    :class:`PackWeightedDetInputs` takes it out again. Any transform may stand
    between the two, unless it reads labels. An object without a weight gets 1.

    Added Keys:

    - gt_bboxes (HorizontalBoxes, xyxy pixels)
    - gt_bboxes_labels (np.int64, with the weight in the upper half)
    - gt_ignore_flags (bool)
    """

    def _load_labels(self, results: Dict) -> None:
        super()._load_labels(results)
        weights = [instance.get('weight', 1.) for instance in results.get('instances', [])]
        results['gt_bboxes_labels'] = pack_weights(results['gt_bboxes_labels'], weights)
