# YOLO-NAS-M on the images of narrow_sample.py at 64 px, five epochs from scratch.
_base_ = 'narrow_sample.py'

img_scale = (64, 64)
model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(in_channels=(96, 192, 384), feat_channels=(96, 192, 384)))

pad = dict(type='Pad', size=img_scale, pad_val=_base_.pad_val)
train_pipeline = list(_base_.train_pipeline)
train_pipeline[2] = dict(
    type='mmyolonas.YOLONASRandomAffine',
    img_scale=img_scale,
    max_translate_ratio=0.1,
    scaling_ratio_range=(0.8, 1.25),
    flip_prob=0.5)
train_pipeline[4] = pad
test_pipeline = list(_base_.test_pipeline)
test_pipeline[1] = dict(type='Resize', scale=img_scale, keep_ratio=True)
test_pipeline[2] = pad
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
