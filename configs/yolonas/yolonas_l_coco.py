# YOLO-NAS-L on COCO. The published recipe is for S only.
_base_ = './yolonas_s_coco.py'

model = dict(
    backbone=dict(arch='l'),
    neck=dict(arch='l'),
    bbox_head=dict(feat_channels=(128, 256, 512)))
