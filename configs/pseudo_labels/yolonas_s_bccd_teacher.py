# Blood cells with labels for a fifth of the training images: the teacher of
# yolonas_s_bccd_student.py, and what that is compared with. As many steps as
# yolonas_s_bccd.py, counted in iterations because the number of images differs.
#
#   python benchmarks/pseudo_labels.py
_base_ = '../yolonas/yolonas_s_bccd.py'

max_iters = 1500
interval = 150
train_dataloader = dict(
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file='train/labelled.json'))

train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=interval)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_iters,
        T_max=max_iters,
        eta_min_ratio=0.02,
        by_epoch=False),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=interval))
log_processor = dict(by_epoch=False)
