# The recipe of a search of pose heads: backbone and neck are those of a trained pose model
# (yolonas_pose_sample.py) and stay as they are.
#   python tools/search.py supernet --work-dir work_dirs/pose_head \
#       --recipe configs/search/yolonas_pose_sample_head.py --input-sizes 96 --head-only n \
#       --max-arch s
_base_ = './yolonas_pose_sample.py'

load_from = 'work_dirs/pose_trunk/epoch_10.pth'
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
default_hooks = dict(checkpoint=dict(interval=max_epochs))
