# The published recipe: 300 epochs of AdamW on 8 GPUs. Its authors call it a
# demonstration; the recipe behind the released weights is not public.
max_epochs = 300
base_lr = 2e-4
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Warm-up over 1000 steps from 1e-6, both ends included; the cosine runs from
# the first step to a tenth. (The original shortens the warm-up to one epoch,
# 458 steps on COCO, and holds the rate until step 1000.) While warming up the
# cosine changes the rate by less than one part in a thousand.
warmup = dict(
    type='LinearLR',
    start_factor=1e-6 / base_lr,
    by_epoch=False,
    begin=0,
    end=1000)
param_scheduler = [
    warmup,
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.1,
        by_epoch=True,
        convert_to_iter_based=True),
]

# No decay of norms and biases. The scale of each residual (`alpha`) is neither
# and is decayed, as in the original.
optim_wrapper = dict(
    type='mmyolonas.AutoAmpOptimWrapper',
    constructor='mmyolonas.MergedGroupsConstructor',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=1e-5),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True))
auto_scale_lr = dict(enable=False, base_batch_size=8 * 32)
sync_bn = 'torch'
randomness = dict(seed=42)

# Validation and the saved weights are those of the average. At the end the ten
# best snapshots of it are averaged once more, as in the original.
custom_hooks = [
    dict(
        type='mmyolonas.ScheduledEMAHook', decay=0.9997, schedule='threshold'),
    dict(type='mmyolonas.NonFiniteLossHook'),
    dict(type='mmyolonas.EpochSeedHook'),
    dict(type='mmyolonas.CheckpointMatchHook'),
    dict(type='NumClassCheckHook'),
    dict(type='mmyolonas.SnapshotAverageHook', num_best=10),
]
