# YOLO-NAS-L: no protocol was published for it, so that of M.
_base_ = './yolonas_m_rf100.py'

model = dict(
    backbone=dict(arch='l'),
    neck=dict(arch='l'),
    bbox_head=dict(feat_channels=(128, 256, 512)))
