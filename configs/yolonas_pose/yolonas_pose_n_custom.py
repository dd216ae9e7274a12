# A template for your own key points in COCO format. Copy it and change what is
# marked. yolonas_pose_n_mouse.py is an example that was filled in.
#
#   python tools/train.py configs/yolonas_pose/my_points.py
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_small.py',
    '../_base_/schedules/pose_small.py',
    '../_base_/pose_runtime.py',
]

# (1) The key points, in the order of `keypoints` in the annotation files.
# `swap` names the point that a mirror image exchanges with this one (left and
# right); '' for points on the axis. Colours are RGB. There is one class of
# objects; its category id is free.
keypoint_info = {
    0: dict(name='nose', id=0, color=[255, 128, 0], type='', swap=''),
    1: dict(name='left_ear', id=1, color=[0, 255, 0], type='',
            swap='right_ear'),
    2: dict(name='right_ear', id=2, color=[0, 128, 255], type='',
            swap='left_ear'),
    3: dict(name='tail', id=3, color=[255, 0, 255], type='', swap=''),
}
num_keypoints = len(keypoint_info)

# (2) Lines to draw between them; {} for none.
skeleton_info = {
    0: dict(link=('nose', 'left_ear'), id=0, color=[0, 255, 0]),
    1: dict(link=('nose', 'right_ear'), id=1, color=[0, 128, 255]),
    2: dict(link=('nose', 'tail'), id=2, color=[255, 0, 255]),
}

# (3) How exactly each point can be placed, relative to the size of the object
# (OKS constants). COCO has 0.025 for eyes, 0.079 for shoulders, 0.107 for
# hips. The same numbers score the training and the AP. With few images start
# at 0.1: below 0.03 a model that begins from nothing gets hardly any signal.
sigmas = [0.1] * num_keypoints

# (4) Where the data are. `img` is the folder that file names start from.
# Annotations need `bbox` and `keypoints` (x, y, visibility: 0 not labelled,
# 1 hidden, 2 seen); images without objects are used as negatives.
dataset_name = 'my_points'
data_root = 'data/custom_pose/'
train_ann_file = 'train/_annotations.coco.json'
train_images = 'train/'
val_ann_file = 'valid/_annotations.coco.json'
val_images = 'valid/'

# (5) (width, height) of the network input, multiples of 32. Objects should
# keep 40 pixels or more. The published models have (640, 640).
input_size = (320, 320)

# (6) Weights to start from: a converted checkpoint of the pose model, or a
# detection model turned into a start by sg2mm.py. Layers whose number of key
# points differs are left out. None trains from scratch; that is what the
# learning rate of 2e-3 in the schedule is for, take a fifth of it otherwise.
load_from = None

# (7) How long, and how many images at a time.
max_epochs = 150
batch_size = 8
num_workers = 2

# Everything below follows from the above. The augmentation is in
# ../_base_/datasets/pose_small.py: with max_rotation=180 for objects that have
# no upright position, without PoseRandomFlip where mirror images do not occur.
metainfo = dict(
    dataset_name=dataset_name,
    keypoint_info=keypoint_info,
    skeleton_info=skeleton_info,
    joint_weights=[1.0] * num_keypoints,
    sigmas=sigmas)
model = dict(head=dict(num_keypoints=num_keypoints, sigmas=sigmas))

resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
train_pipeline = [*_base_.load, resize, *_base_.augment, *_base_.finish]
val_pipeline = [dict(type='LoadImage'), resize, _base_.pack_test]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=train_ann_file,
        data_prefix=dict(img=train_images),
        metainfo=metainfo,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=val_ann_file,
        data_prefix=dict(img=val_images),
        metainfo=metainfo,
        pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='mmyolonas.PoseCocoMetric', ann_file=data_root + val_ann_file),
    # share of points within a tenth of the diagonal of the box
    dict(type='mmyolonas.PosePCKMetric', thr=0.1),
]
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
