"""The evaluator of a config, on some of the images of a split, at full precision."""
import json
import logging
import os
import tempfile
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any, Iterator, List, Optional, Sequence, Tuple
from unittest.mock import patch

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger

from mmyolonas.utils import UserError
from mmyolonas.utils.files import read_json


class ConfigEvaluator:
    """Scores predictions as ``tools/test.py`` does.

    The metrics of OpenMMLab round to three digits; the COCO evaluation behind them, where there
    is one, is kept and gives the number before rounding and the matches of every image.

    Args:
        cfg (Config): Model config.
        split (str): ``'train'``, ``'val'`` or ``'test'``. The training images are scored by the
            evaluator of the validation images.
        dataset: Data set of the split.
        image_ids (Sequence[int]): Images that are scored: the others are not missed.

    Raises:
        UserError: The config has no evaluator.
    """

    def __init__(self, cfg: Any, split: str, dataset: Any, image_ids: Sequence[int]) -> None:
        key = 'test_evaluator' if split == 'test' else 'val_evaluator'
        if not cfg.get(key):
            raise UserError(f'the config has no {key}; AP is computed by it.')
        entries = cfg[key] if isinstance(cfg[key], (list, tuple)) else [cfg[key]]
        self.entries = [dict(entry) for entry in entries]
        if split == 'train':
            for entry in self.entries:
                if 'ann_file' in entry:
                    entry['ann_file'] = dataset.ann_file
        self.metainfo = dataset.metainfo
        self.image_ids = list(image_ids)

    def on(self, image_ids: Sequence[int]) -> 'ConfigEvaluator':
        """Return the evaluator of other images of the split."""
        other = ConfigEvaluator.__new__(ConfigEvaluator)
        other.entries, other.metainfo = self.entries, self.metainfo
        other.image_ids = list(image_ids)
        return other

    def evaluate(self, predictions: Sequence[Any]) -> Tuple[float, Optional[Any], int]:
        """Return the main metric in points, the COCO evaluation behind it, and its ``maxDets``.

        Args:
            predictions (Sequence): Data samples with ``pred_instances``, one an image.

        Returns:
            tuple: Points of 0..100; a ``COCOeval`` or None; the index among its ``maxDets``.
        """
        with tempfile.TemporaryDirectory() as folder, _recorded() as found, _quiet():
            entries = [self._part(entry, folder) for entry in self.entries]
            evaluator = Evaluator([dict(entry) for entry in entries])
            evaluator.dataset_meta = self.metainfo
            evaluator.process(data_samples=list(predictions), data_batch=None)
            metrics = evaluator.evaluate(len(self.image_ids))
        value = 100 * main_metric(metrics)
        best, place = None, 0
        for evaluation in found:
            for index in range(len(evaluation.params.maxDets)):
                exact = mean_precision(evaluation, index)
                if abs(exact - value) < 0.051 + 1e-6:
                    best, place, value = evaluation, index, exact
                    return value, best, place
        return value, best, place

    def _part(self, entry: dict, folder: str) -> dict:
        """Return the config of a metric whose annotations are those of the images alone."""
        path = entry.get('ann_file')
        if not path or not os.path.isfile(path):
            return entry
        truth = read_json(path, 'a COCO annotation file')
        wanted = set(self.image_ids)
        known = {image.get('id') for image in truth.get('images', [])}
        if not wanted <= known or wanted == known:
            return entry
        truth['images'] = [image for image in truth['images'] if image['id'] in wanted]
        truth['annotations'] = [a for a in truth['annotations'] if a['image_id'] in wanted]
        part = os.path.join(folder, f'{len(os.listdir(folder))}.json')
        with open(part, 'w', encoding='utf-8') as file:
            json.dump(truth, file)
        return dict(entry, ann_file=part)


def main_metric(metrics: dict) -> float:
    """Return the metric that a model is judged by, of 0..1.

    Raises:
        UserError: There is none that is known.
    """
    for ending in ('bbox_mAP', 'coco/AP', '/mAP', '/AP', 'mAP', 'AP', 'PCK'):
        for name, value in metrics.items():
            if name.endswith(ending) and np.isfinite(value):
                return max(float(value), 0.)  # -1 stands for nothing to find
    raise UserError('the evaluator of the config gives no average precision (it gives '
                    f'{", ".join(metrics) or "nothing"}); selection needs one.')


def mean_precision(evaluation: Any, index: int = -1) -> float:
    """Return the AP of a ``COCOeval`` in points of 0..100."""
    precision = evaluation.eval['precision'][:, :, :, 0, index]
    known = precision[precision > -1]
    return float(100 * known.mean()) if known.size else float('nan')


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tables of metrics off the screen: there are dozens of plans."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _recorded() -> Iterator[List[Any]]:
    """Give the COCO evaluations that are made meanwhile."""
    from pycocotools import cocoeval
    classes = [cocoeval.COCOeval]
    try:
        from xtcocotools.cocoeval import COCOeval as xtended  # of mmpose's own metric
        classes.append(xtended)
    except ImportError:
        pass
    found: List[Any] = []
    with ExitStack() as stack:
        for kind in classes:
            def accumulate(self: Any, *args: Any, _plain: Any = kind.accumulate,
                           **kwargs: Any) -> Any:
                result = _plain(self, *args, **kwargs)
                found.append(self)
                return result
            stack.enter_context(patch.object(kind, 'accumulate', accumulate))
        yield found
