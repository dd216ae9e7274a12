# A proof that all 80 classes learn: 32 images of COCO, learnt by heart and
# evaluated on the same images. data/tinycoco/{images,annotations}.
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/small_data.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/tinycoco/'
img_scale = (512, 512)  # at 320 a tenth of the objects contain no cell centre
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
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
same_images = dict(
    data_root=data_root,
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='images/train2017/'))

# Small objects come last, and steps are what they wait for: small batches.
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(**same_images, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(**same_images, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + same_images['ann_file'])
test_evaluator = val_evaluator

model = dict(test_cfg=dict(score_thr=0.01))
max_epochs = 140
train_cfg = dict(max_epochs=max_epochs, val_interval=70)
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
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.))
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
