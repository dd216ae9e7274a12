# A template for your own data in COCO format. Copy it and change what is marked.
#
# The layout is that of Roboflow exports:
#   data/custom/train/_annotations.coco.json   beside the images
#   data/custom/valid/_annotations.coco.json   beside the images
# Any other one works, see (2). Images without boxes are fine; Roboflow's
# category 0 for the whole set is left out because `classes` does not name it.
#
#   python tools/analysis_tools/browse_dataset.py configs/yolonas/my_data.py
#   python tools/train.py configs/yolonas/my_data.py
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/small_data.py',
    '../_base_/default_runtime.py',
]

# (1) The names of your classes as the annotation files spell them. Their order
# is free. A single class needs its comma: ('cat', ).
classes = ('cat', 'dog')
metainfo = dict(classes=classes)
num_classes = len(classes)

# (2) Where the data are. Paths are relative to data_root; `img` is the folder
# that the file names in the annotations start from.
data_root = 'data/custom/'
train_ann_file = 'train/_annotations.coco.json'
train_images = 'train/'
val_ann_file = 'valid/_annotations.coco.json'
val_images = 'valid/'

# (3) Weights to start from: a converted SuperGradients checkpoint. The class
# layer is left out if the number of classes differs. None trains from scratch,
# which needs more images and epochs and ten times the learning rate.
#   python tools/model_converters/sg2mm.py yolo_nas_s_coco.pth yolonas_s_coco.pth
load_from = None

# (4) How long, and how many images at a time. With another batch size pass
# `--auto-scale-lr` to tools/train.py.
max_epochs = 100
warmup_epochs = 3
batch_size = 16
num_workers = 4

# Everything below follows from the above.
model = dict(bbox_head=dict(num_classes=num_classes))
# The augmentation is that of COCO; change parts of it here if it does not suit
# (no mirroring of text: flip_prob=0 in both; no colour changes on X-rays: drop
# the last two).
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mmyolonas.YOLONASMixUp',
        prob=0.5,
        flip_prob=0.5,
        transforms=[
            dict(
                type='mmyolonas.YOLONASRandomAffine',
                img_scale=_base_.img_scale,
                max_translate_ratio=0.25,
                scaling_ratio_range=(0.5, 1.5),
                flip_prob=0.5),
            dict(type='mmyolonas.RandomChannelSwap', prob=0.5),
            dict(type='mmyolonas.HSVRandomAug', prob=0.5),
        ]),
    dict(type='Pad', size=_base_.img_scale, pad_val=_base_.pad_val),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=False,  # there may be fewer images than a batch holds
    dataset=dict(
        data_root=data_root,
        ann_file=train_ann_file,
        data_prefix=dict(img=train_images),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False, min_size=0),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=val_ann_file,
        data_prefix=dict(img=val_images),
        metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_ann_file, classwise=True)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        eta_min_ratio=0.1,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=16)
