# Quantisation-aware training that also learns from the float model it began as:
# what 8 bit has moved away from is pulled back, which labels alone do not do in
# so few steps.
_base_ = './yolonas_s_qat_bccd.py'

teacher = 'work_dirs/yolonas_s_bccd_640/epoch_6.pth'

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmyolonas.DistillationHook',
        teacher=dict(
            config='mmyolonas::yolonas/yolonas_s_bccd_640.py',
            checkpoint=teacher),
        weights=dict(cls=4.0, dfl=4.0)),
]
