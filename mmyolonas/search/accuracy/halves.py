"""Validation images in two halves: one chooses architectures, the other reports on them.

What was chosen as the best of many on some images looks better there than it is, so no
number that is reported comes from the images that chose.
"""
from typing import Any, Dict, List, Sequence

from mmengine.hooks import Hook

from mmyolonas.quantization.choice.scoring import Scorer

#: The half that the search sees, and the half it is judged by.
HALVES = ('select', 'report')


def split_halves(image_ids: Sequence[int]) -> Dict[str, List[int]]:
    """Return the places of each half: every other image, in order of the ids.

    Args:
        image_ids (Sequence[int]): Ids, in any order.

    Returns:
        dict[str, list[int]]: ``select`` and ``report``: places in ``image_ids``.
    """
    order = sorted(range(len(image_ids)), key=lambda place: image_ids[place])
    return {name: order[first::2] for first, name in enumerate(HALVES)}


class HalvesHook(Hook):
    """Computes the AP of both halves from the predictions of a validation.

    Attributes:
        ap (dict[str, float]): AP (0..1) of ``select`` and ``report`` at the last
            validation; empty before the first.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self.ap: Dict[str, float] = {}
        self._found: Dict[int, Any] = {}

    def before_val_epoch(self, runner) -> None:
        """Forget the last validation."""
        self._found = {}

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Keep the predictions of a batch."""
        self._found.update({int(sample.img_id): sample for sample in outputs})

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Score the halves."""
        dataset = runner.val_dataloader.dataset
        model = getattr(runner.model, 'module', runner.model)
        ids = list(self._found)
        scorer = Scorer(model, [], dataset.ann_file, getattr(dataset, 'cat_ids', None),
                        dataset.metainfo.get('sigmas'))
        for name, places in split_halves(ids).items():
            scorer.image_ids = [ids[place] for place in places]
            found = [self._found[image_id] for image_id in scorer.image_ids]
            self.ap[name] = max(scorer.score_predictions(found).ap, 0.) / 100
        self._found = {}
