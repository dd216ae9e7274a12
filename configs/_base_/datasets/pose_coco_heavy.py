# COCO key points with the "heavy mosaic" augmentation of M and L (reference.md 10.3):
# stronger colours, random channel order, quarter turns, wider affine.
_base_ = './pose_coco.py'

augment = [
    dict(type='mmyolonas.PoseSanitize'),
    dict(type='mmyolonas.PoseRandomFlip', prob=0.5),
    dict(
        type='mmyolonas.PoseBrightnessContrast',
        brightness_range=(0.7, 1.3),
        contrast_range=(0.7, 1.3),
        prob=0.75),
    dict(type='mmyolonas.RandomChannelSwap', prob=0.5),
    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=25,
        saturation_delta=25,
        value_delta=25,
        prob=0.75),
    dict(type='mmyolonas.PoseRandomRot90', prob=0.5),
    dict(
        type='mmyolonas.PoseRandomAffine',
        max_rotation=7,
        scale_range=(0.6, 1.75),
        max_translate=0.1,
        prob=0.75,
        pad_val=127),
]
train_pipeline = [
    _base_.load,
    *augment,
    dict(
        type='mmyolonas.PoseMosaic',
        pre_transform=[_base_.load, *augment],
        prob=0.5,
        pad_val=127),
    *_base_.finish,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
