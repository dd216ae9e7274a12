# Generated figures with the 17 key points of COCO, from scratch, small enough
# for a CPU; the data set of `make quickstart-pose`:
#   python -m mmyolonas.datasets.samples.sample_data pose data/sample_figures
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_small.py',
    '../_base_/schedules/pose_small.py',
    '../_base_/pose_runtime.py',
]

data_root = 'data/sample_figures/'
input_size = (192, 192)

resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
train_pipeline = [*_base_.load, resize, *_base_.augment, *_base_.finish]
val_pipeline = [dict(type='LoadImage'), resize, _base_.pack_test]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'),
        pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmyolonas.PoseCocoMetric',
    ann_file=data_root + 'annotations/person_keypoints_val.json')
test_evaluator = val_evaluator

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
