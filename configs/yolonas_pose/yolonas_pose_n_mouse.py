# Four key points of a mouse seen from above, 87 images, from scratch on a CPU:
# data/mouse_openfield/{train,valid}/_annotations.coco.json. What each part
# means is said in yolonas_pose_n_custom.py.
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_small.py',
    '../_base_/schedules/pose_small.py',
    '../_base_/pose_runtime.py',
]

data_root = 'data/mouse_openfield/'
input_size = (128, 96)  # a fifth of the images; a mouse has about 40 x 25
# Wide enough that a point half a mouse away still has a slope to learn from:
# with 0.1 the tail base never left its place.
sigmas = [0.2] * 4
metainfo = dict(
    dataset_name='mouse_openfield',
    keypoint_info={
        0: dict(name='snout', id=0, color=[255, 128, 0], type='', swap=''),
        1: dict(name='leftear', id=1, color=[0, 255, 0], type='',
                swap='rightear'),
        2: dict(name='rightear', id=2, color=[0, 128, 255], type='',
                swap='leftear'),
        3: dict(name='tailbase', id=3, color=[255, 0, 255], type='', swap=''),
    },
    skeleton_info={
        0: dict(link=('snout', 'leftear'), id=0, color=[0, 255, 0]),
        1: dict(link=('snout', 'rightear'), id=1, color=[0, 128, 255]),
        2: dict(link=('leftear', 'rightear'), id=2, color=[255, 255, 0]),
        3: dict(link=('leftear', 'tailbase'), id=3, color=[0, 255, 0]),
        4: dict(link=('rightear', 'tailbase'), id=4, color=[0, 128, 255]),
    },
    joint_weights=[1.0] * 4,
    sigmas=sigmas)

# Assigned by boxes alone: with one object an image the pose has nothing to
# decide, and small objects get their signal from the first step on.
model = dict(
    head=dict(
        num_keypoints=4, sigmas=sigmas, assigner=dict(use_oks=False)))

resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
train_pipeline = [*_base_.load, resize, *_base_.augment, *_base_.finish]
val_pipeline = [dict(type='LoadImage'), resize, _base_.pack_test]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='train/_annotations.coco.json',
        data_prefix=dict(img='train/'),
        metainfo=metainfo,
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='valid/_annotations.coco.json',
        data_prefix=dict(img='valid/'),
        metainfo=metainfo,
        pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='mmyolonas.PoseCocoMetric',
        ann_file=data_root + 'valid/_annotations.coco.json'),
    dict(type='mmyolonas.PosePCKMetric', thr=0.1),
]
test_evaluator = val_evaluator

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs, val_interval=20)
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
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=1))
