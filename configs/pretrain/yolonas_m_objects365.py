# Pre-training of YOLO-NAS-M on Objects365; see yolonas_s_objects365.py.
_base_ = './yolonas_s_objects365.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))

max_epochs = 32
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.warmup,
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.1,
        by_epoch=True,
        convert_to_iter_based=True),
]
