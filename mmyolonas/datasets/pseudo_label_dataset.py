"""Training data that a model has labelled."""
from typing import Any, Dict, List, Optional, Union

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

    What the model was not sure of is neither an object nor background: objects between
    ``ignore_thr`` and ``score_thr``, and annotations that the file marks ``iscrowd``, become
    regions to ignore, for a head with ``ignored_regions='class'``.

    Args:
        score_thr (float | dict): Objects below are left out; by class name, a
            class that is not named keeps all. Defaults to 0.
        ignore_thr (float | dict, optional): Objects below ``score_thr`` from here on are
            regions to ignore; by class name, of a class that is not named there are none.
            Defaults to None: they are left out.
        score_power (float): See above; 0 gives all objects the same weight.
            Defaults to 1.
        loss_weight (float): Weight of this data set within (0, 1]. Defaults to 1.
        kwargs: See :class:`CheckedCocoDataset`.

    Raises:
        DataError: An annotation has no score within 0 and 1, or not one is a label.
    """

    def __init__(self,
                 *args,
                 score_thr: Union[float, Dict[str, float]] = 0.,
                 ignore_thr: Union[float, Dict[str, float], None] = None,
                 score_power: float = 1.,
                 loss_weight: float = 1.,
                 **kwargs) -> None:
        if not 0 < loss_weight <= 1:
            raise ValueError(f'loss_weight must lie within 0 and 1, got {loss_weight}: to weigh '
                             'the labelled data higher, lower it')
        if score_power < 0:
            raise ValueError(f'score_power must not be negative, got {score_power}')
        self.score_thr = score_thr
        self.ignore_thr = ignore_thr
        self.score_power = score_power
        self.loss_weight = loss_weight
        super().__init__(*args, **kwargs)

    def _load_instances(self, data: Dict[str, Any], categories) -> Dict[int, List[dict]]:
        """Leave objects of low scores out or open, then load as usual."""
        names = {c['id']: c['name'] for c in data['categories']}
        kept = []
        for annotation in data['annotations']:
            score = annotation.get('score')
            if not isinstance(score, (int, float)) or not 0 <= score <= 1:
                raise DataError(
                    f"annotation file '{self.ann_file}': annotation {annotation['id']} has no "
                    f'score within 0 and 1 (got {score!r}): pseudo-labels come from '
                    "tools/pseudo_label.py; use type='mmyolonas.CheckedCocoDataset' for labels")
            name = names.get(annotation['category_id'])
            lowest = _threshold(self.ignore_thr, name, float('inf'))
            if annotation.get('iscrowd'):
                if self.ignore_thr is None or score >= lowest:
                    kept.append(annotation)
            elif score >= _threshold(self.score_thr, name, 0.):
                kept.append(annotation)
            elif score >= lowest:
                kept.append(dict(annotation, iscrowd=1))
        if kept and all(annotation.get('iscrowd') for annotation in kept):
            raise DataError(f"annotation file '{self.ann_file}': not one of its "
                            f'{len(data["annotations"])} pseudo-labels is certain enough to be '
                            'an object, all are regions to ignore: lower score_thr, here or when '
                            'labelling')
        return super()._load_instances(dict(data, annotations=kept), categories)

    def _instance(self, annotation: Dict[str, Any], box: List[float], label: int) -> dict:
        weight = self.loss_weight * annotation['score']**self.score_power
        return dict(super()._instance(annotation, box, label), weight=weight)


def _threshold(given: Union[float, Dict[str, float], None], name: Optional[str],
               default: float) -> float:
    """Return the threshold of a class."""
    if isinstance(given, dict):
        return given.get(name, default)
    return default if given is None else given
