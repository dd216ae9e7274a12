# Blood cells (BCCD): three classes, 205 training images of 640 x 480, from
# scratch on a CPU. Layout of Roboflow exports in data/bccd/{train,valid,test}.
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/small_data.py',
    '../_base_/default_runtime.py',
]

metainfo = dict(
    classes=('Platelets', 'RBC', 'WBC'),
    palette=[(255, 180, 0), (220, 40, 60), (60, 90, 220)])
data_root = 'data/bccd/'
# Half of the images' size; a batch is not padded to a square.
img_scale = (320, 256)
fit_scale = (320, 240)

model = dict(
    bbox_head=dict(num_classes=3),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.65)))

# Cells have no upright position and few colours: mirrored both ways, mild
# colour changes, no exchanged channels, no blending.
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mmyolonas.YOLONASRandomAffine',
        img_scale=fit_scale,
        max_translate_ratio=0.15,
        scaling_ratio_range=(0.75, 1.3),
        flip_prob=0.5),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=5,
        saturation_delta=30,
        value_delta=30,
        prob=0.5),
    dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=fit_scale, keep_ratio=True),
    dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor')),
]

# Small batches: with few images the number of steps is what counts.
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        ann_file='train/_annotations.coco.json',
        data_prefix=dict(img='train/'),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        ann_file='valid/_annotations.coco.json',
        data_prefix=dict(img='valid/'),
        metainfo=metainfo,
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        ann_file='test/_annotations.coco.json',
        data_prefix=dict(img='test/'),
        metainfo=metainfo,
        pipeline=test_pipeline))
val_evaluator = dict(
    ann_file=data_root + 'valid/_annotations.coco.json', classwise=True)
test_evaluator = dict(
    ann_file=data_root + 'test/_annotations.coco.json', classwise=True)

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=8e-4, weight_decay=1e-2))
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
