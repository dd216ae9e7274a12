# YOLO-NAS-M on COCO. The published recipe is for S only.
_base_ = './yolonas_s_coco.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))
