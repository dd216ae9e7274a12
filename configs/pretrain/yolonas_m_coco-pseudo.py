# YOLO-NAS-M on COCO and pseudo-labels; see yolonas_s_coco-pseudo.py.
_base_ = './yolonas_s_coco-pseudo.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))
