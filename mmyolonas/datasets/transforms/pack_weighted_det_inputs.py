"""Packing boxes with weights."""
from typing import Dict

from mmdet.datasets.transforms import PackDetInputs

from mmyolonas.datasets.weighted_labels import unpack_weights
from mmyolonas.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackWeightedDetInputs(PackDetInputs):
    """mmdet's ``PackDetInputs`` behind :class:`LoadWeightedAnnotations`.

    ``gt_instances`` gets, beside ``bboxes`` and ``labels``, the ``weights`` (N,)
    within [0, 1] that ``YOLONASHead(instance_weights=True)`` uses.

    Args:
        meta_keys (Sequence[str]): See mmdet's ``PackDetInputs``.
    """

    mapping_table = dict(PackDetInputs.mapping_table, gt_bboxes_weights='weights')

    def transform(self, results: Dict) -> Dict:
        """Pack; arguments and result as in mmdet's ``PackDetInputs``."""
        if 'gt_bboxes_labels' in results:
            labels, weights = unpack_weights(results['gt_bboxes_labels'])
            results.update(gt_bboxes_labels=labels, gt_bboxes_weights=weights)
        return super().transform(results)
