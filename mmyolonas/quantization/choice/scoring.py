"""Average precision of a model, in PyTorch or from a file, image by image."""
import os
from contextlib import contextmanager, redirect_stdout
from copy import copy
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from mmyolonas.evaluation.ground_truth import complete_annotations, max_detections
from mmyolonas.models.utils import select_candidates
from mmyolonas.quantization.choice.evaluator import ConfigEvaluator, mean_precision
from mmyolonas.quantization.ranges.images import Sample
from mmyolonas.utils import UserError, track

#: From a network input (1, 3, H, W) to the decoded outputs.
Forward = Callable[[np.ndarray], Sequence[np.ndarray]]


@dataclass
class Score:
    """AP with what is needed to compute it again for other draws of images.

    Args:
        ap (float): AP over IoU (or OKS) .50 to .95, in points of 0..100.
        ap50 (float): AP at .50, in points.
        evaluation (COCOeval, optional): Matches of each image; None for other metrics than COCO's.
        dets (int): Which of its ``maxDets`` counts.
    """
    ap: float
    ap50: float
    evaluation: Optional[COCOeval]
    dets: int = -1
    _redrawn: Dict[int, List[float]] = field(default_factory=dict, repr=False, compare=False)

    def resampled(self, images: Union[Sequence[int], np.ndarray]) -> float:
        """Return AP of the given images (indices, repetitions allowed)."""
        full = self.evaluation
        if full is None:
            raise UserError('the metric of the config keeps no matches of single images.')
        params = full._paramsEval
        count = len(params.imgIds)
        matches = np.array(full.evalImgs, dtype=object).reshape(
            len(params.catIds), len(params.areaRng), count)[:, :1, list(images)]
        part = COCOeval(iouType=params.iouType)
        part.params.__dict__.update({**params.__dict__, 'imgIds': list(range(len(images))),
                                     'areaRng': params.areaRng[:1],
                                     'areaRngLbl': params.areaRngLbl[:1],
                                     'maxDets': [params.maxDets[self.dets]]})
        part._paramsEval = part.params
        part.evalImgs = matches.reshape(-1).tolist()
        with redirect_stdout(StringIO()):
            part.accumulate()
        return mean_precision(part)

    @property
    def images(self) -> int:
        """int: Images that were scored."""
        return 0 if self.evaluation is None else len(self.evaluation._paramsEval.imgIds)

    def interval(self, other: Optional['Score'] = None, draws: int = 200,
                 level: float = 0.95) -> Tuple[float, float]:
        """Return the bootstrap interval of AP, or of the loss against another score.

        Args:
            other (Score, optional): Compare with it on the same draws: the
                interval is of ``other.ap - self.ap``.
            draws (int): Draws of images, with replacement. Defaults to 200.
            level (float): Defaults to 0.95.
        """
        values = np.array(self._draws(draws))
        if other is not None:
            values = np.array(other._draws(draws)) - values
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def _draws(self, draws: int) -> List[float]:
        """Return AP on draws of images, the same ones for all scores of as many images."""
        if draws not in self._redrawn:
            rng = np.random.default_rng(0)
            self._redrawn[draws] = [self.resampled(rng.integers(0, self.images, self.images))
                                    for _ in range(draws)]
        return self._redrawn[draws]


class Scorer:
    """AP on a fixed list of images.

    Args:
        model (BaseModel): Detector or pose estimator, for its post-processing.
        samples (list[Sample]): Images.
        ann_file (str): COCO annotations of the images.
        cat_ids (Sequence[int], optional): Category of each label; None for
            pose, and for detection all categories in order.
        sigmas (Sequence[float], optional): Pose: OKS constants.
        evaluator (ConfigEvaluator, optional): Computes AP as the config does; None scores by
            COCO's rules.
    """

    def __init__(self, model: BaseModel, samples: List[Sample], ann_file: str,
                 cat_ids: Optional[Sequence[int]] = None,
                 sigmas: Optional[Sequence[float]] = None,
                 evaluator: Optional[ConfigEvaluator] = None) -> None:
        self.model = model
        self.evaluator = evaluator
        self.samples = samples
        self.is_pose = not hasattr(model, 'bbox_head')
        with redirect_stdout(StringIO()):
            self.coco = COCO(ann_file)
            complete_annotations(self.coco.dataset['annotations'])
            self.coco.createIndex()
        self.cat_ids = list(cat_ids or self.coco.getCatIds())
        self.sigmas = sigmas
        self.image_ids = [int(sample.data_sample.img_id) for sample in samples]

    @classmethod
    def from_config(cls, cfg: Any, model: BaseModel, samples: List[Sample],
                    split: str = 'test') -> 'Scorer':
        """Make a scorer for images of a split of a config.

        Args:
            cfg (Config): Model config.
            model (BaseModel): See above.
            samples (list[Sample]): Images of that split.
            split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to
                ``'test'``.

        Raises:
            UserError: The data set of the split has no annotation file.
        """
        from mmyolonas.quantization.ranges.images import build_dataset
        dataset = build_dataset(cfg, split)
        ann_file = getattr(dataset, 'ann_file', None)
        if not ann_file:
            raise UserError(f'the {split} data set has no ann_file; AP needs COCO annotations.')
        ids = [int(sample.data_sample.img_id) for sample in samples]
        return cls(model, samples, ann_file, getattr(dataset, 'cat_ids', None),
                   dataset.metainfo.get('sigmas'), ConfigEvaluator(cfg, split, dataset, ids))

    def on(self, indices: Sequence[int]) -> 'Scorer':
        """Return a scorer of some of the images."""
        part = copy(self)
        part.samples = [self.samples[index] for index in indices]
        part.image_ids = [self.image_ids[index] for index in indices]
        part.evaluator = self.evaluator and self.evaluator.on(part.image_ids)
        return part

    def shared_images(self, other: Optional['Scorer']) -> int:
        """Return how many images another scorer has too, by their files."""
        def files(scorer: 'Scorer') -> set:
            return {os.path.realpath(sample.data_sample.img_path) for sample in scorer.samples
                    if getattr(sample.data_sample, 'img_path', None)}

        return 0 if other is None else len(files(self) & files(other))

    def score(self, model: Optional[BaseModel] = None, label: str = 'AP') -> Score:
        """Return the AP of a model in PyTorch; None for the scorer's own."""
        model = model or self.model
        predictions = []
        with torch.no_grad():
            for sample in track(self.samples, label):
                predictions.append(model.predict(sample.inputs, [sample.data_sample])[0])
        return self.score_predictions(predictions)

    def score_file(self, forward: Forward, label: str = 'AP') -> Score:
        """Return the AP of an exported model without NMS in its graph.

        Args:
            forward (Callable): Runs the file: input (1, 3, H, W) to boxes
                (1, L, 4) and scores (1, L, C); for pose also key points
                (1, L, K, 2) and their scores (1, L, K).
        """
        predictions = []
        with torch.no_grad():
            for sample in track(self.samples, label):
                outputs = [torch.from_numpy(np.asarray(x))
                           for x in forward(sample.inputs.numpy())]
                with _decoded(self.model, outputs):
                    predictions.append(
                        self.model.predict(sample.inputs, [sample.data_sample])[0])
        return self.score_predictions(predictions)

    def score_predictions(self, predictions: List[Any]) -> Score:
        """Return the AP of data samples with ``pred_instances``."""
        if self.evaluator is not None:
            ap, found, index = self.evaluator.evaluate(predictions)
            ap50 = float('nan') if found is None else _at_50(found, index)
            return Score(ap, ap50, found, index)
        results = [row for image_id, prediction in zip(self.image_ids, predictions)
                   for row in self._rows(image_id, prediction.pred_instances)]
        with redirect_stdout(StringIO()):
            found = self.coco.loadRes(results) if results else COCO()
            evaluation = COCOeval(self.coco, found, 'keypoints' if self.is_pose else 'bbox')
            evaluation.params.imgIds = sorted(self.image_ids)
            evaluation.params.catIds = self.cat_ids
            if self.is_pose and self.sigmas is not None:
                evaluation.params.kpt_oks_sigmas = np.asarray(self.sigmas)
            evaluation.params.maxDets = [20] if self.is_pose else [
                1, 10, max_detections(self.coco.dataset.get('annotations', []))]
            evaluation.evaluate()
            evaluation.accumulate()
        return Score(mean_precision(evaluation), _at_50(evaluation), evaluation)

    def _rows(self, image_id: int, instances: Any) -> Iterator[dict]:
        scores = np.asarray(instances.scores if not self.is_pose else instances.bbox_scores)
        if self.is_pose:
            points = np.concatenate([np.asarray(instances.keypoints), np.asarray(
                instances.keypoint_scores)[..., None]], axis=-1)
            for point, score in zip(points, scores):
                yield dict(image_id=image_id, category_id=self.cat_ids[0], score=float(score),
                           keypoints=point.reshape(-1).tolist())
            return
        boxes, labels = np.asarray(instances.bboxes), np.asarray(instances.labels)
        for (x1, y1, x2, y2), label, score in zip(boxes.tolist(), labels, scores):
            yield dict(image_id=image_id, category_id=self.cat_ids[int(label)],
                       bbox=[x1, y1, x2 - x1, y2 - y1], score=float(score))


def _at_50(evaluation: COCOeval, index: int = -1) -> float:
    precision = evaluation.eval['precision'][0, :, :, 0, index]
    known = precision[precision > -1]
    return float(100 * known.mean()) if known.size else float('nan')


@contextmanager
def _decoded(model: BaseModel, outputs: List[Tensor]) -> Iterator[None]:
    """Let a model post-process given outputs instead of computing its own."""
    is_pose = not hasattr(model, 'bbox_head')
    head = model.head if is_pose else model.bbox_head

    def predict(feats: Any, data_samples: list, rescale: bool = True) -> List[InstanceData]:
        cfg = ConfigDict(head.test_cfg)
        scores, labels, priors = select_candidates(
            outputs[1][0], cfg.get('score_thr', 0), cfg.get('nms_pre', 1000),
            cfg.get('multi_label', True))
        results = InstanceData(bboxes=outputs[0][0][priors], scores=scores, labels=labels)
        return [head._bbox_post_process(results, cfg, rescale, True, data_samples[0].metainfo)]

    replaced = dict(decode=lambda feats: tuple(outputs)) if is_pose else dict(predict=predict)
    model.__dict__['extract_feat'] = lambda inputs: [inputs]
    head.__dict__.update(replaced)
    try:
        yield
    finally:
        del model.__dict__['extract_feat']
        for name in replaced:
            del head.__dict__[name]
