# For ten to some thousand images: warm-up and cosine in epochs, converted to
# steps, so that they fit any number of images.
max_epochs = 100
warmup_epochs = 3
base_lr = 5e-4
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        eta_min_ratio=0.1,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='mmyolonas.AutoAmpOptimWrapper',
    constructor='mmyolonas.MergedGroupsConstructor',
    optimizer=dict(type='mmyolonas.FusedAdamW', lr=base_lr, weight_decay=1e-4),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True))
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=0)

# An average over few steps: there are few.
custom_hooks = [
    dict(type='mmyolonas.ScheduledEMAHook', decay=0.99, schedule='threshold'),
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
    dict(type='mmyolonas.CheckpointMatchHook'),
    dict(type='NumClassCheckHook'),
]
