# The shared recipe of the architecture search on generated images: 96 steps, a good minute
# for each network on one CPU core. The search overrides architecture, input size and seed.
#   python -m mmyolonas.datasets.samples.sample_data detection data/search_shapes \
#       --size 128 --num-train 384 --num-val 128
_base_ = '../yolonas/yolonas_s_sample.py'

data_root = 'data/search_shapes/'
ann_file = data_root + 'annotations/instances_val.json'
train_dataloader = dict(batch_size=8, dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=16, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=ann_file, classwise=False)
test_evaluator = val_evaluator

# Running statistics and average must keep up with 96 steps.
norm_cfg = dict(type='BN', momentum=0.2, eps=1e-3)
model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg))
custom_hooks = [
    dict(type='mmyolonas.ScheduledEMAHook', decay=0.9, schedule='threshold'),
    *_base_.custom_hooks[1:],
]

# No look at the model in between: the validation at the end is the result.
max_epochs = 2
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=5),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=3e-3))
default_hooks = dict(checkpoint=dict(save_best=None))
