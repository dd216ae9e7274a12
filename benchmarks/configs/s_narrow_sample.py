# YOLO-NAS-S on the images of narrow_sample.py: four epochs on from the network of
# `make quickstart`, which has seen other images of the kind.
_base_ = 'narrow_sample.py'

model = dict(
    backbone=dict(arch='s'),
    neck=dict(arch='s'),
    bbox_head=dict(in_channels=(96, 192, 384), feat_channels=(64, 128, 256)))
load_from = 'work_dirs/quickstart/train/best_coco_bbox_mAP_epoch_8.pth'
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
