"""Training data that a model has labelled."""
from typing import Any, Dict, List, Union

from mmyolonas.registry import DATASETS
from mmyolonas.utils.data_error import DataError

from .checked_coco_dataset import CheckedCocoDataset


@DATASETS.register_module()
class PseudoLabelDataset(CheckedCocoDataset):
    """A COCO file whose annotations have scores, such as ``tools/pseudo_label.py`` writes.

    Each object gets the weight ``loss_weight * score ** score_power``. It has an
    effect if the pipeline begins with ``mmyolonas.LoadWeightedAnnotations`` and ends
    with ``mmyolonas.PackWeightedDetInputs`` and the head has
    ``instance_weights=True``; without these, all objects count alike.

    Labelled data join it in a ``ConcatDataset``, whose parts an ordinary sampler
    draws by their size; mmdet's ``MultiSourceSampler`` fixes their shares of each
    batch (with an iteration-based loop, for it never ends), and a ``RepeatDataset``
    around the labelled part raises its share with epochs.

    Args:
        score_thr (float | dict): Objects below are left out; by class name, a
            class that is not named keeps all. Defaults to 0.
        score_power (float): See above; 0 gives all objects the same weight.
            Defaults to 1.
        loss_weight (float): Weight of this data set within (0, 1]. Defaults to 1.
        kwargs: See :class:`CheckedCocoDataset`.

    Raises:
        DataError: An annotation has no score within 0 and 1.
    """

    def __init__(self,
                 *args,
                 score_thr: Union[float, Dict[str, float]] = 0.,
                 score_power: float = 1.,
                 loss_weight: float = 1.,
                 **kwargs) -> None:
        if not 0 < loss_weight <= 1:
            raise ValueError(f'loss_weight must lie within 0 and 1, got {loss_weight}: to weigh '
                             'the labelled data higher, lower it')
        if score_power < 0:
            raise ValueError(f'score_power must not be negative, got {score_power}')
        self.score_thr = score_thr
        self.score_power = score_power
        self.loss_weight = loss_weight
        super().__init__(*args, **kwargs)

    def _load_instances(self, data: Dict[str, Any], categories) -> Dict[int, List[dict]]:
        """Leave objects of low scores out, then load as usual."""
        names = {c['id']: c['name'] for c in data['categories']}
        kept = []
        for annotation in data['annotations']:
            score = annotation.get('score')
            if not isinstance(score, (int, float)) or not 0 <= score <= 1:
                raise DataError(
                    f"annotation file '{self.ann_file}': annotation {annotation['id']} has no "
                    f'score within 0 and 1 (got {score!r}): pseudo-labels come from '
                    "tools/pseudo_label.py; use type='mmyolonas.CheckedCocoDataset' for labels")
            if score >= self._threshold(names.get(annotation['category_id'])):
                kept.append(annotation)
        return super()._load_instances(dict(data, annotations=kept), categories)

    def _threshold(self, name: str) -> float:
        return self.score_thr.get(name, 0.) if isinstance(self.score_thr, dict) else self.score_thr

    def _instance(self, annotation: Dict[str, Any], box: List[float], label: int) -> dict:
        weight = self.loss_weight * annotation['score']**self.score_power
        return dict(super()._instance(annotation, box, label), weight=weight)
