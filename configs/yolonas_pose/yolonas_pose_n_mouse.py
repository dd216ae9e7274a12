# Four key points of a mouse seen from above, 87 images, from scratch on a CPU:
# data/mouse_openfield/{train,valid}/_annotations.coco.json. An example of
# yolonas_pose_custom.py.
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/schedules/pose_small.py',
    '../_base_/pose_runtime.py',
]

data_mode = 'bottomup'
data_root = 'data/mouse_openfield/'
input_size = (192, 160)  # the images have 640 x 480
sigmas = [0.1] * 4
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

model = dict(head=dict(num_keypoints=4, sigmas=sigmas))

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='mmyolonas.PoseSanitize'),
    # first of all: the rest is then cheap
    dict(type='mmyolonas.PoseResizePad', input_size=input_size),
    dict(type='mmyolonas.PoseRandomFlip', prob=0.5),
    dict(type='mmyolonas.PoseBrightnessContrast', prob=0.5),
    # seen from above there is no up and down
    dict(
        type='mmyolonas.PoseRandomAffine',
        max_rotation=180,
        scale_range=(0.75, 1.25),
        max_translate=0.1,
        prob=0.9),
    dict(type='mmyolonas.PoseRemoveSmall'),
    dict(type='mmyolonas.PosePackLabels'),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='mmyolonas.PoseResizePad', input_size=input_size),
    dict(
        type='PackPoseInputs',
        meta_keys=('id', 'img_id', 'img_path', 'ori_shape', 'img_shape',
                   'input_size', 'input_center', 'input_scale', 'flip_indices',
                   'raw_ann_info', 'dataset_name')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='train/_annotations.coco.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='valid/_annotations.coco.json',
        data_prefix=dict(img='valid/'),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='mmyolonas.PoseCocoMetric',
        ann_file=data_root + 'valid/_annotations.coco.json'),
    dict(type='mmyolonas.PosePCKMetric', thr=0.1),
]
test_evaluator = val_evaluator

# 80 epochs of 10 steps
max_epochs = 80
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
