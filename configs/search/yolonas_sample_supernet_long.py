# What `benchmarks/supernet.py frontier` trains anew with: three times the steps of its recipe,
# because trainings of 192 steps do not repeat from seed to seed (docs/en/search.md).
_base_ = './yolonas_sample_supernet.py'

max_epochs = 12
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
