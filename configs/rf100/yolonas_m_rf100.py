# YOLO-NAS-M by the published protocol: batch 12, a lower learning rate.
_base_ = './yolonas_s_rf100.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))
train_dataloader = dict(batch_size=12)
base_lr = 4e-4
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1e-6 / base_lr),
    _base_.param_scheduler[1],
]
