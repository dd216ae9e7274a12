# Two epochs of quantisation-aware training of m_narrow_sample.py.
_base_ = 'm_narrow_sample.py'

custom_imports = dict(
    imports=['mmyolonas', 'mmyolonas.quantization.qat'],
    allow_failed_imports=False)
model = dict(
    _delete_=True, type='mmyolonas.QuantizedModel', model=_base_.model)
max_epochs = 2
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=10),
    dict(
        _base_.param_scheduler[1],
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.01),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=2e-5))
custom_hooks = [
    dict(
        type='mmyolonas.QATHook',
        checkpoint='give --cfg-options custom_hooks.0.checkpoint=FILE',
        num_images=32),
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
]
