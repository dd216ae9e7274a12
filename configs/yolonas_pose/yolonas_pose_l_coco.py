# YOLO-NAS-Pose-L on COCO; the original reports 68.2 AP, starting from the
# detection model.
_base_ = './yolonas_pose_m_coco.py'

norm_cfg = dict(type='BN', momentum=0.03, eps=1e-6)
model = dict(
    backbone=dict(arch='l', norm_cfg=norm_cfg),
    neck=dict(arch='l', norm_cfg=norm_cfg),
    head=dict(arch='l', norm_cfg=norm_cfg))
train_dataloader = dict(batch_size=24)
auto_scale_lr = dict(base_batch_size=8 * 24)

base_lr = 8e-5
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
