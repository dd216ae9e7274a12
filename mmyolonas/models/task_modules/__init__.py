from .batch_task_aligned_assigner import AssignResult, BatchTaskAlignedAssigner
from .pose_targets import PoseTargets, pad_pose_targets
from .pose_task_aligned_assigner import PoseAssignResult, PoseTaskAlignedAssigner

__all__ = [
    'AssignResult', 'BatchTaskAlignedAssigner', 'PoseAssignResult', 'PoseTargets',
    'PoseTaskAlignedAssigner', 'pad_pose_targets'
]
