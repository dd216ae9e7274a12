from .pose_head_level import YOLONASPoseHeadLevel
from .post_processing import select_poses
from .yolonas_pose_head import RawPoseOutputs, YOLONASPoseHead

__all__ = ['RawPoseOutputs', 'YOLONASPoseHead', 'YOLONASPoseHeadLevel', 'select_poses']
