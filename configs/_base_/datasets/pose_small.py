# Parts for data sets of your own: what a config puts together with its paths,
# its input size and its key points (see yolonas_pose_n_custom.py).
data_mode = 'bottomup'  # read by MMPoseInferencer

load = [dict(type='LoadImage'), dict(type='mmyolonas.PoseSanitize')]
# Between these stands PoseResizePad: what comes after it is cheap then.
augment = [
    dict(type='mmyolonas.PoseRandomFlip', prob=0.5),
    dict(type='mmyolonas.PoseBrightnessContrast', prob=0.5),
    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=20,
        saturation_delta=20,
        value_delta=20,
        prob=0.5),
    dict(
        type='mmyolonas.PoseRandomAffine',
        max_rotation=20,
        scale_range=(0.8, 1.2),
        max_translate=0.1,
        prob=0.75),
]
finish = [
    dict(type='mmyolonas.PoseRemoveSmall'),
    dict(type='mmyolonas.PosePackLabels'),
    dict(type='PackPoseInputs'),
]
pack_test = dict(
    type='PackPoseInputs',
    meta_keys=('id', 'img_id', 'img_path', 'ori_shape', 'img_shape',
               'input_size', 'input_center', 'input_scale', 'flip_indices',
               'raw_ann_info', 'dataset_name'))

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmyolonas.CheckedPoseDataset',
        data_mode=data_mode,
        # Not a test: it is how mmpose keeps images without objects.
        test_mode=True))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='mmyolonas.CheckedPoseDataset', data_mode=data_mode, test_mode=True))
test_dataloader = val_dataloader
