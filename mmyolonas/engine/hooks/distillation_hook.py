"""Lets a model learn from another one while it trains."""
import logging
from typing import Dict, Optional, Sequence, Union

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from mmyolonas.engine.distillation import (
    DistillationSchedule,
    DistillationTerms,
    StudentTap,
    Teacher,
    TermSettings,
    find_head,
    load_teacher,
)
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.registry import HOOKS
from mmyolonas.utils import UserError

DETECTION_WEIGHTS = dict(cls=1.0, dfl=1.0)
POSE_WEIGHTS = dict(cls=1.0, dfl=1.0, kpt=1.0, kpt_score=1.0)


@HOOKS.register_module()
class DistillationHook(Hook):
    """Add the teacher's opinion to the losses of a YOLO-NAS student.

    An ordinary training with this hook in ``custom_hooks`` is a distillation::

        dict(type='mmyolonas.DistillationHook',
             teacher=dict(config='mmyolonas::yolonas/yolonas_l_coco.py',
                          checkpoint='yolonas_l.pth'),
             schedule=dict(warmup=1, decay='cosine'))

    The teacher is a YOLO-NAS model of any size, for detection also a
    single-stage detector of mmdet, with the student's classes (key points) and
    strides; or ``'ema'``, the average of the student's own weights. It sees the
    augmented images that the student sees. The student's state dict does not
    change (but for ``feature_adapters`` of its head), the teacher is in no
    checkpoint, and a resumed training loads it again.

    The losses are called ``loss_kd_cls``, ``loss_kd_dfl``, ``loss_kd_kpt``,
    ``loss_kd_kpt_score`` and ``loss_kd_feat``; see
    :class:`mmyolonas.engine.distillation.TermSettings`.

    Args:
        teacher (dict | str): ``config`` and ``checkpoint``, optionally
            ``cfg_options``, ``fuse`` and ``input_scale`` (see :func:`load_teacher`), or
            ``'ema'``.
        weights (dict, optional): Weight of each term relative to the student's
            own loss of the kind. Defaults to 1 for ``cls`` and ``dfl``, for
            poses also ``kpt`` and ``kpt_score``; what is given replaces or adds
            single entries, 0 leaves a term out. ``feat`` needs
            ``feature_adapters`` in the student's head.
        schedule (dict, optional): Arguments of :class:`DistillationSchedule`.
        every (int): Ask the teacher in one of so many iterations, which then counts so
            many times. Defaults to 1.
        **settings: Further fields of :class:`TermSettings`: ``power``,
            ``threshold``, ``background``, ``gamma``, ``temperature``.

    Raises:
        UserError: When training starts, if the teacher is missing or does not
            fit.
    """

    def __init__(self,
                 teacher: Union[dict, str],
                 weights: Optional[Dict[str, float]] = None,
                 schedule: Optional[dict] = None,
                 every: int = 1,
                 **settings: float) -> None:
        if teacher != 'ema' and not (isinstance(teacher, dict) and
                                     {'config', 'checkpoint'} <= set(teacher)):
            raise UserError("DistillationHook: teacher must be dict(config=..., checkpoint=...) or "
                            f"'ema', got {teacher!r}.")
        if not (isinstance(every, int) and every >= 1):
            raise UserError(f'DistillationHook: every must be a whole number from 1 on, got '
                            f'{every!r}.')
        self.teacher = teacher
        self.every = every
        self.weights = dict(weights or {})
        self.schedule = DistillationSchedule(**(schedule or {}))
        TermSettings(**settings)  # names that it does not have are refused here
        self.settings = settings
        self.tap: Optional[StudentTap] = None

    def before_train(self, runner) -> None:
        """Load the teacher and attach it; by now the EMA hook has made its copy."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = find_head(model)
        if not isinstance(head, (YOLONASHead, YOLONASPoseHead)):
            raise UserError('DistillationHook: the student must have a YOLONASHead or a '
                            f'YOLONASPoseHead, got a {type(head).__name__}.')
        settings = TermSettings(weights=self._weights(head), **self.settings)
        teacher = self._make_teacher(runner, model)
        self.tap = StudentTap(model, head, teacher, DistillationTerms(head, settings),
                              with_feats='feat' in settings.weights)
        if 'feat' in settings.weights:
            _check_adapters(model, teacher, head)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Set the factor of the iteration."""
        position, total = runner.iter, runner.max_iters
        if self.schedule.by_epoch:
            position, total = position * runner.max_epochs / total, runner.max_epochs
        self.tap.factor = self.every * self.schedule.factor(position, total)
        if runner.iter % self.every:
            self.tap.factor = 0.

    def after_train(self, runner) -> None:
        """Let the student go."""
        self.tap.remove()
        self.tap = None

    def _weights(self, head: nn.Module) -> Dict[str, float]:
        """Return the weights of the terms that are not 0."""
        pose = isinstance(head, YOLONASPoseHead)
        weights = dict(POSE_WEIGHTS if pose else DETECTION_WEIGHTS)
        unknown = set(self.weights) - {*weights, 'feat'}
        if unknown:
            raise UserError(
                f'DistillationHook: there is no term {", ".join(sorted(unknown))} for this '
                f'student; weights may have {", ".join([*weights, "feat"])}.')
        weights.update(self.weights)
        weights = {name: weight for name, weight in weights.items() if weight}
        if ('feat' in weights) != (head.feature_adapters is not None):
            raise UserError(
                "DistillationHook: weights=dict(feat=...) and the head's feature_adapters=dict("
                "type='mmyolonas.FeatureAdapters', in_channels=(...), out_channels=(...)) need "
                'each other; give both or neither.')
        return weights

    def _make_teacher(self, runner, model: nn.Module) -> Teacher:
        if self.teacher == 'ema':
            averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
            if not averages:
                raise UserError("DistillationHook: teacher='ema' needs a hook that keeps the "
                                "average: add dict(type='mmyolonas.ScheduledEMAHook').")
            return Teacher(averages[0].ema_model.module, model)
        classes: Sequence[str] = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get(
            'classes') or ()
        teacher = load_teacher(student=model, classes=classes, **self.teacher)
        print_log(f'distilling from {self.teacher["checkpoint"]} '
                  f'({type(teacher.model).__name__})', logger='current', level=logging.INFO)
        return teacher


def _check_adapters(model: nn.Module, teacher: Teacher, head: nn.Module) -> None:
    """Ask the teacher about an empty image to see whether the feature maps fit.

    Raises:
        UserError: They have other channels than the adapters.
    """
    size = 4 * max(head.strides)
    feats = teacher(torch.zeros(1, 3, size, size, device=next(model.parameters()).device)).feats
    adapters = head.feature_adapters
    given = ([x.in_channels for x in adapters], [x.out_channels for x in adapters])
    wanted = (list(model.neck.out_channels), [x.shape[1] for x in feats])
    if given != wanted:
        raise UserError(
            f'DistillationHook: the feature_adapters of the head have in_channels={given[0]} and '
            f'out_channels={given[1]}, but the feature maps have {wanted[0]} channels in the '
            f'student and {wanted[1]} in the teacher.')
