"""The loss terms of distillation."""
from dataclasses import dataclass, field
from typing import Callable, Dict, Sequence, Tuple

import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmyolonas.models.losses.distillation_functional import (
    confidence_weights,
    distribution_kl,
    feature_correlation_loss,
)
from mmyolonas.models.losses.functional import soft_focal_loss
from mmyolonas.models.losses.pose_functional import ciou_loss, oks_loss
from mmyolonas.models.utils import (
    decode_keypoints,
    distances_to_boxes,
    flatten_levels,
    gather_levels,
    grid_priors,
    integral,
)

from .outputs import StudentOutputs, TeacherOutputs

#: Where the weight of the student's own loss of the same kind is found.
OWN_LOSS = dict(cls='loss_cls', dfl='loss_dfl', bbox='loss_bbox', kpt='loss_kpt',
                kpt_score='loss_kpt_score')


@dataclass
class TermSettings:
    """What is compared, and how it is weighed.

    Args:
        weights (dict[str, float]): Weight of each term, relative to that of the
            student's own loss of the kind; absent ones are left out. ``cls``:
            class scores; ``dfl``: distributions of the box sides, or boxes where
            the teacher has none that compare; ``kpt`` and ``kpt_score``: key
            points and their confidences; ``feat``: features in front of the
            head.
        power (float): Exponent of the teacher's confidence in all terms but
            ``cls`` and ``feat``. Defaults to 1.
        threshold (float): Smallest confidence that counts there. Defaults to
            0.05.
        background (float): Weight of priors of no confidence in ``cls``, where
            confident ones have 1. Defaults to 1.
        gamma (float): Exponent of the difference in ``cls`` and ``kpt_score``.
            Defaults to 2.
        temperature (float): Temperature in ``dfl``. Defaults to 1.
    """
    weights: Dict[str, float] = field(default_factory=dict)
    power: float = 1.0
    threshold: float = 0.05
    background: float = 1.0
    gamma: float = 2.0
    temperature: float = 1.0


class DistillationTerms:
    """Compares the outputs of a student with those of its teacher.

    Every term is a sum over priors, divided by the teacher's summed confidence
    (over all processes, at least 1), as the student's own losses are divided by
    the sum of their targets.

    Args:
        head (nn.Module): The student's head.
        settings (TermSettings): What is compared.
    """

    def __init__(self, head: nn.Module, settings: TermSettings) -> None:
        self.head = head
        self.settings = settings

    def __call__(self, student: StudentOutputs, teacher: TeacherOutputs) -> Dict[str, Tensor]:
        """Return the terms by name: ``loss_kd_cls``, ``loss_kd_dfl``, ..."""
        settings = self.settings
        # single precision, as the head's own losses
        with torch.autocast(teacher.scores.device.type, enabled=False):
            weight = confidence_weights(teacher.scores, settings.power, settings.threshold)
            avg_factor = reduce_mean(weight.sum()).clamp(min=1)
            terms = dict(cls=lambda: self._classes(student, teacher, weight) / avg_factor)
            index = weight.nonzero(as_tuple=True)
            positives = (index, weight[index], avg_factor)
            terms['dfl'] = lambda: self._sides(student, teacher, *positives)
            terms['kpt'] = lambda: self._keypoints(student, teacher, *positives)
            terms['kpt_score'] = lambda: self._keypoint_scores(student, teacher, *positives)
            terms['feat'] = lambda: self._features(student.feats, teacher.feats)
            return {f'loss_kd_{name}': self._weight(name, teacher) * terms[name]()
                    for name in settings.weights}

    def _weight(self, name: str, teacher: TeacherOutputs) -> float:
        kind = 'bbox' if name == 'dfl' and teacher.bbox_dists is None else name
        own = getattr(self.head, OWN_LOSS.get(kind, ''), None)
        return self.settings.weights[name] * getattr(own, 'loss_weight', 1.0)

    def _classes(self, student: StudentOutputs, teacher: TeacherOutputs,
                 weight: Tensor) -> Tensor:
        logits = flatten_levels(student.cls_scores).float()
        loss = soft_focal_loss(logits, teacher.scores, self.settings.gamma).sum(-1)
        background = self.settings.background
        if background != 1:
            loss = loss * (background + (1 - background) * weight)
        return loss.sum()

    def _sides(self, student: StudentOutputs, teacher: TeacherOutputs,
               index: Tuple[Tensor, Tensor], weight: Tensor, avg_factor: Tensor) -> Tensor:
        dists = gather_levels(student.bbox_dists, index).float()
        if teacher.bbox_dists is not None:
            target = gather_levels(teacher.bbox_dists, index).float()
            loss = distribution_kl(dists, target, self.head.reg_max, self.settings.temperature)
        else:
            priors, strides = self._priors(student)
            distances = integral(dists, self.head.reg_max, dim=-1) * strides[index[1]]
            loss = ciou_loss(distances_to_boxes(priors[index[1]], distances), teacher.boxes[index])
        return (loss * weight).sum() / avg_factor

    def _keypoints(self, student: StudentOutputs, teacher: TeacherOutputs,
                   index: Tuple[Tensor, Tensor], weight: Tensor, avg_factor: Tensor) -> Tensor:
        priors, strides = (x[index[1]] for x in self._priors(student))
        offsets = gather_levels(student.kpt_offsets, index).float()
        boxes = teacher.boxes[index]
        areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1) * self.head.area_factor
        # how visible a key point is, as far as the teacher knows
        loss = oks_loss(decode_keypoints(priors, offsets, strides), teacher.keypoints[index],
                        teacher.keypoint_scores[index], areas, self.head.sigmas)
        return (loss * weight).sum() / avg_factor

    def _keypoint_scores(self, student: StudentOutputs, teacher: TeacherOutputs,
                         index: Tuple[Tensor, Tensor], weight: Tensor,
                         avg_factor: Tensor) -> Tensor:
        logits = gather_levels(student.kpt_scores, index).float()
        loss = soft_focal_loss(logits, teacher.keypoint_scores[index], self.settings.gamma)
        return (loss.mean(-1) * weight).sum() / avg_factor

    def _features(self, feats: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        feats = self.head.feature_adapters([x.float() for x in feats])
        losses = [feature_correlation_loss(x, target) for x, target in zip(feats, targets)]
        return sum(losses) / len(losses)

    def _priors(self, student: StudentOutputs) -> Tuple[Tensor, Tensor]:
        maps = student.bbox_dists
        return grid_priors([x.shape[-2:] for x in maps], self.head.strides, maps[0].device)


#: Compares a student's outputs with a teacher's.
Compare = Callable[[StudentOutputs, TeacherOutputs], Dict[str, Tensor]]
