# Pre-training of YOLO-NAS-L on Objects365; see yolonas_s_objects365.py.
_base_ = './yolonas_s_objects365.py'

model = dict(
    backbone=dict(arch='l'),
    neck=dict(arch='l'),
    bbox_head=dict(feat_channels=(128, 256, 512)))

max_epochs = 25
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
