# The recipe of `benchmarks/supernet.py`: generated images at 64 px, 192 steps, some ten
# seconds for each network on one CPU core.
#   python -m mmyolonas.datasets.samples.sample_data detection data/search_shapes \
#       --size 96 --num-train 384 --num-val 256
_base_ = './yolonas_sample_short.py'

val_dataloader = dict(batch_size=32)
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
