# COCO key points with the "mosaic" augmentation of N and S (reference.md 10.3).
data_mode = 'bottomup'  # read by MMPoseInferencer
data_root = 'data/coco/'
dataset_type = 'mmyolonas.CheckedPoseDataset'
input_size = (640, 640)  # width, height
pad_val = 127

# EXIF orientation is ignored, as in the original's reader: COCO's annotations
# belong to the stored pixels.
load = dict(type='LoadImage', color_type='color_ignore_orientation')
augment = [
    dict(type='mmyolonas.PoseSanitize'),
    dict(type='mmyolonas.PoseRandomFlip', prob=0.5),
    dict(
        type='mmyolonas.PoseBrightnessContrast',
        brightness_range=(0.8, 1.2),
        contrast_range=(0.8, 1.2),
        prob=0.5),
    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=20,
        saturation_delta=20,
        value_delta=20,
        prob=0.5),
    dict(
        type='mmyolonas.PoseRandomAffine',
        max_rotation=5,
        scale_range=(0.75, 1.5),
        max_translate=0.1,
        prob=0.75,
        pad_val=pad_val),
]
finish = [
    # training centres the picture, evaluation does not
    dict(
        type='mmyolonas.PoseResizePad',
        input_size=input_size,
        pad_val=pad_val,
        center=True),
    dict(type='mmyolonas.PoseRemoveSmall', min_area=1, min_visible=1),
    # 'as_normal' as in the recipe: a crowd is an ordinary object, which the
    # filter above drops unless it has joints
    dict(type='mmyolonas.PosePackLabels', crowd='as_normal'),
    dict(type='PackPoseInputs'),
]
train_pipeline = [
    load,
    *augment,
    dict(
        type='mmyolonas.PoseMosaic',
        pre_transform=[load, *augment],
        prob=0.5,
        pad_val=pad_val),
    *finish,
]
val_pipeline = [
    load,
    dict(
        type='mmyolonas.PoseResizePad',
        input_size=input_size,
        pad_val=pad_val),
    dict(
        type='PackPoseInputs',
        meta_keys=('id', 'img_id', 'img_path', 'ori_shape', 'img_shape',
                   'input_size', 'input_center', 'input_scale', 'flip_indices',
                   'raw_ann_info', 'dataset_name')),
]

train_dataloader = dict(
    batch_size=60,  # of each of 8 GPUs
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        # Not a test: it is how mmpose keeps images without persons, which the
        # recipe trains on as negatives.
        test_mode=True,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/person_keypoints_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

# The score of a pose is that of its box, no rescoring and no OKS-NMS.
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/person_keypoints_val2017.json',
    score_mode='bbox',
    nms_mode='none')
test_evaluator = val_evaluator
