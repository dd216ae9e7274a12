# YOLO-NAS-Pose-N on COCO, from scratch; the original reports 59.7 AP.
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_coco.py',
    '../_base_/schedules/pose_1000e.py',
    '../_base_/pose_runtime.py',
]
