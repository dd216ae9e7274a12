# For tens to hundreds of images, from scratch: a learning rate that fits a
# batch of 8, a short warm-up in steps, an average over few steps.
max_epochs = 150
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='mmyolonas.AutoAmpOptimWrapper',
    constructor='mmyolonas.MergedGroupsConstructor',
    optimizer=dict(type='mmyolonas.FusedAdamW', lr=2e-3, weight_decay=1e-4),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True))
custom_hooks = [
    dict(type='mmyolonas.ScheduledEMAHook', decay=0.99, schedule='threshold'),
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
    dict(type='mmyolonas.CheckpointMatchHook'),
]
