# What `benchmarks/supernet.py frontier` trains anew with: three times the steps of its recipe,
# because trainings of 192 steps do not repeat from seed to seed (docs/en/search.md).
_base_ = './yolonas_sample_supernet.py'

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs, T_max=max_epochs),
]
