# COCO 2017 with the augmentation of the published recipe. Where that has
# quirks, the decision stands beside the line.
dataset_type = 'mmyolonas.CheckedCocoDataset'
data_root = 'data/coco/'
img_scale = (640, 640)  # width, height
pad_val = dict(img=(114, 114, 114))
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    # Half of the images are blended with a raw one. The recipe has no mosaic.
    dict(
        type='mmyolonas.YOLONASMixUp',
        prob=0.5,
        ratio_range=(0.5, 1.5),
        flip_prob=0.5,
        transforms=[
            # Fitting to 640, affine and mirroring in one interpolation. The
            # original clips boxes with width and height exchanged and so loses
            # objects on landscape images: not copied. Its area test against
            # the unscaled box is.
            dict(
                type='mmyolonas.YOLONASRandomAffine',
                img_scale=img_scale,
                max_translate_ratio=0.25,
                scaling_ratio_range=(0.5, 1.5),
                min_bbox_size=2,
                min_area_ratio=0.1,
                max_aspect_ratio=20,
                flip_prob=0.5),
            # Random channel order, then HSV that takes the array for BGR all
            # the same: the recipe's order, kept.
            dict(type='mmyolonas.RandomChannelSwap', prob=0.5),
            dict(
                type='mmyolonas.HSVRandomAug',
                hue_delta=18,
                saturation_delta=30,
                value_delta=30,
                prob=0.5),
        ]),
    # Training pads right and bottom, validation all around: kept, the
    # published weights come from it.
    dict(type='Pad', size=img_scale, pad_val=pad_val),
    dict(type='PackDetInputs'),
]
# mmdet's Resize rounds sizes to the nearest pixel (as the original's predict
# does) where the original's validation cuts them: at most one pixel on the
# shorter side, and boxes are mapped back with the realised factors.
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(636, 636), keep_ratio=True),
    dict(type='mmyolonas.CenterPad', size=img_scale, pad_val=114),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'pad_param')),
]

train_dataloader = dict(
    batch_size=32,  # of each of 8 GPUs
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        # The recipe leaves images without boxes out. They can be trained on.
        filter_cfg=dict(filter_empty_gt=True, min_size=0),
        pipeline=train_pipeline,
        backend_args=backend_args))
# All images of the validation set are evaluated; the original leaves out those
# without boxes, so that detections on them never count against it.
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args))
test_dataloader = val_dataloader

# pycocotools with its usual 100 detections per image; the original's own metric
# takes 100 per class.
val_evaluator = dict(
    type='mmyolonas.CheckedCocoMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric='bbox',
    proposal_nums=(100, 1, 10),
    backend_args=backend_args)
test_evaluator = val_evaluator
