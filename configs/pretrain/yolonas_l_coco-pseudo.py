# YOLO-NAS-L on COCO and pseudo-labels; see yolonas_s_coco-pseudo.py.
_base_ = './yolonas_s_coco-pseudo.py'

model = dict(
    backbone=dict(arch='l'),
    neck=dict(arch='l'),
    bbox_head=dict(feat_channels=(128, 256, 512)))
