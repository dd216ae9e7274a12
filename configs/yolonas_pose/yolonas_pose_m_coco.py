# YOLO-NAS-Pose-M on COCO; the original reports 67.9 AP, starting from the
# detection model.
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_coco_heavy.py',
    '../_base_/schedules/pose_1000e.py',
    '../_base_/pose_runtime.py',
]

norm_cfg = dict(type='BN', momentum=0.1, eps=1e-6)
model = dict(
    backbone=dict(arch='m', norm_cfg=norm_cfg),
    neck=dict(arch='m', norm_cfg=norm_cfg),
    head=dict(
        arch='m',
        norm_cfg=norm_cfg,
        loss_dfl=dict(loss_weight=0.5),
        loss_kpt=dict(loss_weight=10.0)))
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=8 * 32)

base_lr = 1e-4
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6 / base_lr,
        by_epoch=False,
        begin=0,
        end=128),
    _base_.cosine,
]
custom_hooks = [
    dict(
        type='mmyolonas.ScheduledEMAHook',
        decay=0.997,
        schedule='exp',
        beta=50),
    *_base_.guards,
]
