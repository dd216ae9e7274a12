# YOLO-NAS-M on the images of narrow_sample.py, eight epochs from scratch.
_base_ = 's_narrow_sample.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))
load_from = None
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
