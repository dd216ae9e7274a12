# YOLO-NAS-S from scratch on generated images of textured shapes, in minutes on
# two CPU cores; the data set of `make quickstart`:
#   python -m mmyolonas.datasets.samples.sample_data detection data/sample_shapes
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/small_data.py',
    '../_base_/default_runtime.py',
]

metainfo = dict(
    classes=('circle', 'square', 'triangle', 'star', 'ring'),
    palette=[(220, 60, 60), (60, 160, 60), (60, 90, 220), (230, 160, 30),
             (150, 60, 200)])
data_root = 'data/sample_shapes/'
img_scale = (192, 192)

model = dict(
    bbox_head=dict(num_classes=5),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.65)))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mmyolonas.YOLONASRandomAffine',
        img_scale=img_scale,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.8, 1.25),
        flip_prob=0.5),
    dict(type='mmyolonas.HSVRandomAug', hue_delta=5, prob=0.5),
    dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
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
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/instances_train.json',
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
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        metainfo=metainfo,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/instances_val.json', classwise=True)
test_evaluator = val_evaluator

max_epochs = 8
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
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
