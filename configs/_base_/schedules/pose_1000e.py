# The published schedule (reference.md 11.6).
max_epochs = 1000
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)

# The recipe sets both a warm-up of 128 steps and one of 10 epochs. The first is
# what warms up; the second only delays the cosine, so the learning rate stands
# still until epoch 10. Kept on purpose, the published weights come from it.
base_lr = 2e-3
cosine = dict(
    type='CosineAnnealingLR',
    begin=10,
    end=max_epochs,
    T_max=max_epochs - 10,
    eta_min_ratio=0.05,
    by_epoch=True,
    convert_to_iter_based=True)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6 / base_lr,
        by_epoch=False,
        begin=0,
        end=128),
    cosine,
]
optim_wrapper = dict(
    type='mmyolonas.AutoAmpOptimWrapper',
    constructor='mmyolonas.MergedGroupsConstructor',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=1e-6),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True))
auto_scale_lr = dict(enable=False, base_batch_size=8 * 60)

guards = [
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
    dict(type='mmyolonas.CheckpointMatchHook'),
    # 100 epochs without a gain of 1e-4, counted over interruptions
    dict(
        type='mmyolonas.PatienceHook',
        monitor='coco/AP',
        rule='greater',
        min_delta=1e-4,
        patience=100),
    # the mean of the ten best snapshots of the average, at the end
    dict(type='mmyolonas.SnapshotAverageHook', metric='coco/AP', num_best=10),
]
custom_hooks = [
    dict(
        type='mmyolonas.ScheduledEMAHook', decay=0.997, schedule='threshold'),
    *guards,
]
