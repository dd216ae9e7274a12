# The recipe of `benchmarks/supernet_finetune.py`: a supernet on blood cells (BCCD), images at a
# fifth of their size, 104 steps; some minutes on one CPU core. Data as in yolonas_s_bccd.py.
_base_ = '../yolonas/yolonas_s_bccd.py'

img_scale = (128, 96)
load = _base_.train_pipeline[:2]
affine = dict(_base_.train_pipeline[2], img_scale=img_scale)
colours = _base_.train_pipeline[3:5]
finish = _base_.train_pipeline[6:]
train_pipeline = [*load, affine, *colours, dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
                  *finish]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    *_base_.test_pipeline[3:],
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(classwise=False)
test_evaluator = dict(classwise=False)

# The average must keep up with few steps.
custom_hooks = [
    dict(type='mmyolonas.ScheduledEMAHook', decay=0.9, schedule='threshold'),
    *_base_.custom_hooks[1:],
]
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=10),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
