"""A student learns from a teacher's outputs; :class:`DistillationHook` binds it together.

None of this is in the published recipe, whose distillation was never described: the terms, their
weights and their schedule are this project's own, with sources named where they stand.
"""
from .inputs import input_converter
from .outputs import StudentOutputs, TeacherOutputs
from .readers import as_teacher
from .schedule import DistillationSchedule
from .student import StudentTap
from .teacher import Teacher, find_head, load_teacher
from .terms import DistillationTerms, TermSettings

__all__ = [
    'DistillationSchedule', 'DistillationTerms', 'StudentOutputs', 'StudentTap', 'Teacher',
    'TeacherOutputs', 'TermSettings', 'as_teacher', 'find_head', 'input_converter', 'load_teacher'
]
