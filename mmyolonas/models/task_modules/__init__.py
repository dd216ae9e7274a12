from .batch_task_aligned_assigner import AssignResult, BatchTaskAlignedAssigner

__all__ = ['AssignResult', 'BatchTaskAlignedAssigner']
