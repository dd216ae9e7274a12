# Two epochs of quantisation-aware training of m_narrow_sample.py.
_base_ = 'qat_s_narrow_sample.py'

model = dict(
    model=dict(
        backbone=dict(arch='m'),
        neck=dict(arch='m'),
        bbox_head=dict(feat_channels=(96, 192, 384))))
