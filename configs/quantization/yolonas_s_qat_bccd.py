# Quantisation-aware training from the float model of yolonas_s_bccd_640.py: a
# tenth of the epochs that made it, a hundredth of their learning rate and weight
# decay, cosine, no average of the weights, no batch norms (they are folded).
_base_ = '../yolonas/yolonas_s_bccd_640.py'

custom_imports = dict(
    imports=['mmyolonas', 'mmyolonas.quantization.qat'],
    allow_failed_imports=False)

model = dict(
    _delete_=True,
    type='mmyolonas.QuantizedModel',
    model=_base_.model,
    plan=None)  # a plan of tools/quantize.py, or None for full INT8

load_from = None  # QATHook reads the float weights
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=20),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True),
]
# single precision: rounding to 8 bit behind rounding to bfloat16 is another step
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(lr=3e-6, weight_decay=1e-4))

custom_hooks = [
    dict(
        type='mmyolonas.QATHook',
        checkpoint='work_dirs/yolonas_s_bccd_640/epoch_6.pth',
        num_images=64,
        method='max'),
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
]
