"""Listens to a student while it computes its losses, and adds to them."""
from typing import Any, Callable, Dict, List, Optional, Tuple

from torch import Tensor, nn

from mmyolonas.models.pose_heads import YOLONASPoseHead

from .outputs import StudentOutputs, TeacherOutputs
from .terms import Compare


class _Tap:
    """A forward hook that stays behind when its module is copied or pickled."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __reduce__(self) -> tuple:
        return _Untapped, ()


class _Untapped:
    """What a copy of a module has in place of a :class:`_Tap`."""

    def __call__(self, *args: Any) -> None:
        return None


class StudentTap:
    """Adds distillation losses to the losses that a student returns.

    It hooks into calls ``model(inputs, data_samples, mode='loss')`` in training
    mode, keeps what the head's levels (and the neck) give, asks the teacher
    about the same inputs and adds the terms to the dictionary of losses. The
    student runs once. Forward hooks run inside of DDP's forward, under the
    autocast of the optimizer wrapper, and are no part of a state dict.

    Attributes:
        factor (float): Factor of all terms; at 0 the teacher is not asked.

    Args:
        model (nn.Module): The student, not wrapped.
        head (nn.Module): Its :class:`YOLONASHead` or :class:`YOLONASPoseHead`.
        teacher (Callable): Network input to :class:`TeacherOutputs`.
        compare (Callable): Both outputs to loss terms by name.
        with_feats (bool): Whether features in front of the head are compared.
    """

    def __init__(self, model: nn.Module, head: nn.Module,
                 teacher: Callable[[Tensor], TeacherOutputs], compare: Compare,
                 with_feats: bool = False) -> None:
        self.factor = 1.0
        self.head = head
        self.teacher = teacher
        self.compare = compare
        self._listening = False
        self._levels: List[Tuple[Tensor, ...]] = []
        self._feats: Tuple[Tensor, ...] = ()
        self._handles = [
            model.register_forward_pre_hook(_Tap(self._begin), with_kwargs=True),
            model.register_forward_hook(_Tap(self._end), with_kwargs=True),
            *(level.register_forward_hook(_Tap(self._on_level)) for level in head.levels)
        ]
        if with_feats:
            self._handles.append(model.neck.register_forward_hook(_Tap(self._on_neck)))

    def remove(self) -> None:
        """Leave the student as it was."""
        for handle in self._handles:
            handle.remove()
        self._forget()

    def _forget(self) -> None:
        self._listening, self._levels, self._feats = False, [], ()

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self._forget()
        mode = kwargs.get('mode', args[2] if len(args) > 2 else None)
        self._listening = model.training and mode == 'loss'

    def _on_level(self, level: nn.Module, args: tuple, output: Tuple[Tensor, ...]) -> None:
        if self._listening:
            self._levels.append(output)

    def _on_neck(self, neck: nn.Module, args: tuple, output: Tuple[Tensor, ...]) -> None:
        if self._listening:
            self._feats = output

    def _end(self, model: nn.Module, args: tuple, kwargs: dict,
             losses: Dict[str, Tensor]) -> Optional[Dict[str, Tensor]]:
        if not self._listening:
            return None
        student = self._outputs()
        self._forget()
        if self.factor == 0:
            return {**losses, **self._idle(student)}
        inputs = kwargs['inputs'] if 'inputs' in kwargs else args[0]
        terms = self.compare(student, self.teacher(inputs))
        return {**losses, **{name: value * self.factor for name, value in terms.items()}}

    def _outputs(self) -> StudentOutputs:
        maps = [list(values) for values in zip(*self._levels)]
        if isinstance(self.head, YOLONASPoseHead):
            confidences, dists, offsets = maps
            return StudentOutputs([x[:, :1] for x in confidences], dists, offsets,
                                  [x[:, 1:] for x in confidences], self._feats)
        return StudentOutputs(*maps, feats=self._feats)

    def _idle(self, student: StudentOutputs) -> Dict[str, Tensor]:
        """Return a zero that keeps the adapters in the graph, which DDP needs."""
        if self.head.feature_adapters is None:
            return {}
        zero = sum(parameter.sum() for parameter in self.head.feature_adapters.parameters()) * 0
        return dict(loss_kd_feat=zero)
