"""The teacher: built, loaded, checked against the student, and asked."""
from pathlib import Path
from typing import Callable, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.utils import UserError
from mmyolonas.utils.building import load_model, switch_to_deploy
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.configs import load_config

from .inputs import input_converter
from .outputs import TeacherOutputs
from .readers import DenseHeadReader, YOLONASReader, stride_numbers
from .smaller import enlarge, smaller_size


def find_head(model: nn.Module) -> Optional[nn.Module]:
    """Return the head of a single-stage detector or a one-stage pose estimator."""
    return getattr(model, 'bbox_head', None) or getattr(model, 'head', None)


class Teacher:
    """A frozen network in evaluation mode that predicts for the student's priors.

    It is no module and holds its network out of sight of the student's: not in
    a state dict, not in a copy of the student, not in an optimizer.

    Args:
        model (nn.Module): The teacher's network, on the student's device.
        student (nn.Module): The student's network.
        input_scale (float): Size of its images, relative to the student's; less costs
            less (0.5 a quarter), see :func:`enlarge`. Defaults to 1.

    Raises:
        UserError: The teacher has other classes, key points or strides, or a
            head that is not understood.
    """

    def __init__(self, model: nn.Module, student: nn.Module, input_scale: float = 1.) -> None:
        if not 0 < input_scale <= 1:
            raise UserError('DistillationHook: input_scale of the teacher must be above 0 and at '
                            f'most 1, got {input_scale}.')
        self.model = model.eval().requires_grad_(False)
        head, own = find_head(model), find_head(student)
        check_heads(head, own)
        self.input_scale = input_scale
        self.strides = tuple(own.strides)
        if isinstance(head, (YOLONASHead, YOLONASPoseHead)):
            self.read = YOLONASReader(model, head, head.reg_max == own.reg_max)
        else:
            self.read = DenseHeadReader(model, head, own.strides, own.reg_max)
        self.convert: Optional[Callable[[Tensor], Tensor]] = input_converter(
            student.data_preprocessor, model.data_preprocessor)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> TeacherOutputs:
        """Return the predictions for the student's network input (B, 3, H, W)."""
        if self.convert is not None:
            inputs = self.convert(inputs)
        size = inputs.shape[-2:]
        small = smaller_size(size, self.input_scale, max(self.strides))
        if self.input_scale == 1 or small == tuple(size):
            return self.read(inputs)
        outputs = self.read(F.interpolate(inputs, small, mode='bilinear'))
        return enlarge(outputs, small, size, self.strides)


def load_teacher(config: Union[str, dict], checkpoint: str, student: nn.Module,
                 classes: Sequence[str] = (), cfg_options: Optional[dict] = None,
                 fuse: bool = True, input_scale: float = 1.) -> Teacher:
    """Return the teacher of a config and a checkpoint.

    Args:
        config (str): Config file, or ``mmyolonas::yolonas/yolonas_l_coco.py``.
        checkpoint (str): Its checkpoint; a folder stands for the last one in it.
        student (nn.Module): The student's network; the teacher goes to its device.
        classes (Sequence[str]): Names of the student's classes, if known.
        cfg_options (dict, optional): Settings of the teacher's config to override.
        fuse (bool): Whether to re-parameterise the teacher, which makes it
            faster. Defaults to True.
        input_scale (float): See :class:`Teacher`. Defaults to 1.

    Raises:
        UserError: A file is missing, the checkpoint is not the config's, or the
            teacher does not fit the student.
    """
    if Path(checkpoint).is_dir():
        last = last_checkpoint(checkpoint)
        if last is None:
            raise UserError(f'DistillationHook: there is no checkpoint of the teacher in '
                            f'{checkpoint}; train it first.')
        checkpoint = str(last)
    scope = DefaultScope.get_current_instance()
    model, meta = load_model(load_config(config, cfg_options), checkpoint)
    if scope is not None:  # a teacher of another package must not leave its own
        DefaultScope.get_instance(f'distillation-{id(model)}', scope_name=scope.scope_name)
    check_classes((meta.get('dataset_meta') or {}).get('classes'), classes, checkpoint)
    if fuse:
        switch_to_deploy(model)
    return Teacher(model.to(next(student.parameters()).device), student, input_scale)


def check_classes(theirs: Optional[Sequence[str]], own: Sequence[str], source: str) -> None:
    """Raise a :class:`UserError` if the names of the classes are known and differ."""
    if not theirs or not own or isinstance(theirs, str) or isinstance(own, str):
        return
    if len(theirs) == len(own) and tuple(theirs) != tuple(own):
        index = next(i for i, pair in enumerate(zip(theirs, own)) if pair[0] != pair[1])
        raise UserError(
            f'DistillationHook: the teacher {source} was trained on other classes: its class '
            f"{index} is {theirs[index]!r}, the student's is {own[index]!r}; both need the same "
            'classes in the same order.')


def check_heads(head: Optional[nn.Module], own: nn.Module) -> None:
    """Raise a :class:`UserError` if a teacher's head does not fit a student's."""
    if head is None or isinstance(own, YOLONASPoseHead) != isinstance(head, YOLONASPoseHead):
        kind = 'pose estimator' if isinstance(own, YOLONASPoseHead) else 'detector'
        raise UserError(
            f'DistillationHook: the student is a YOLO-NAS {kind}, the teacher is none '
            f'({type(head).__name__}); a {kind} learns from a '
            + ('YOLO-NAS-Pose model.' if kind[0] == 'p' else 'single-stage detector.'))
    what, count = ('key points', 'num_keypoints') if isinstance(own, YOLONASPoseHead) else (
        'classes', 'num_classes')
    if getattr(head, count) != getattr(own, count):
        raise UserError(
            f'DistillationHook: the teacher has {getattr(head, count)} {what}, the student '
            f'{getattr(own, count)}; both need the same {what}.')
    strides = stride_numbers(head)
    if not set(own.strides) <= set(strides):
        raise UserError(
            f'DistillationHook: the teacher has feature maps of strides {strides}, the student of '
            f"{list(own.strides)}; every stride of the student must be among the teacher's.")
    exact = (YOLONASHead, YOLONASPoseHead)
    if isinstance(head, exact) and strides != list(own.strides):
        raise UserError(
            f'DistillationHook: the teacher has feature maps of strides {strides}, the student of '
            f'{list(own.strides)}; between YOLO-NAS models they must be the same.')
