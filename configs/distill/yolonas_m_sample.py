# A teacher for yolonas_s_distill-m_sample.py: YOLO-NAS-M on generated images.
#   python tools/train.py configs/distill/yolonas_m_sample.py
_base_ = '../yolonas/yolonas_s_sample.py'

model = dict(
    backbone=dict(arch='m'),
    neck=dict(arch='m'),
    bbox_head=dict(feat_channels=(96, 192, 384)))
