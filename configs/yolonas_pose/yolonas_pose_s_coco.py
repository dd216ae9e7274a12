# YOLO-NAS-Pose-S on COCO; the original reports 64.2 AP, starting from the
# detection model: `sg2mm.py` makes such a start, then
# `--cfg-options load_from=...`.
_base_ = './yolonas_pose_n_coco.py'

norm_cfg = dict(type='BN', momentum=0.1, eps=1e-6)
model = dict(
    backbone=dict(arch='s', norm_cfg=norm_cfg),
    neck=dict(arch='s', norm_cfg=norm_cfg),
    head=dict(arch='s', norm_cfg=norm_cfg))
train_dataloader = dict(batch_size=48)
auto_scale_lr = dict(base_batch_size=8 * 48)
