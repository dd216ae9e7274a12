"""The text that configs of fine-tuning are put together from."""
HEAD = '''# YOLO-NAS on your own data. An ordinary config: change what you like, then train on
# with tools/train.py. Names and paths are in {values_name}, as data: a config
# is code, and what a data set calls its classes must not become part of it.
_base_ = {bases}

dataset_values = _base_.dataset_values
# The order of the names is that of the labels.
classes = tuple(dataset_values['classes'])
metainfo = dict(classes=classes)
# Annotations in COCO format, and the folder that their file names start from.
{files}

# Images are fitted to (width, height) and padded to multiples of 32.
fit_scale = {fit_scale}
img_scale = {img_scale}

batch_size = {batch_size}{of_each}
max_epochs = {epochs}  # {steps} steps in all
warmup_steps = {warmup_steps}
lr = {lr}
num_workers = {num_workers}
# Weights to start from; the class layers are left out if the number of classes
# differs.
load_from = dataset_values['load_from']
'''

MODEL = '''
model = dict(
{architecture}    bbox_head=dict({head}num_classes=len(classes)),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.65){most}))

load = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
]
affine = dict(
    type='mmyolonas.YOLONASRandomAffine',
    img_scale=fit_scale,
    max_translate_ratio=0.15,
    scaling_ratio_range=(0.75, 1.3),
    flip_prob={flip_prob})
finish = [
{vertical}    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=5,
        saturation_delta=30,
        value_delta=30,
        prob=0.5),
    dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
    dict(type='PackDetInputs'),
]
{pipeline}test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=fit_scale, keep_ratio=True),
    dict(type='Pad', size=img_scale, pad_val=_base_.pad_val),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor')),
]
'''

PLAIN_PIPELINE = '''train_pipeline = [*load, affine, *finish]
'''

MIXED_PIPELINE = '''mosaic = [
    dict(
        type='CachedMosaic',
        img_scale=fit_scale,
        center_ratio_range=(0.5, 1.5),
        pad_val=114.0,
        max_cached_images=40),
    # twice as large as fit_scale, and halved on the way into it
    dict(affine, scaling_ratio_range=(1.0, 2.4)),
]
blended = [
    dict(
        type='mmyolonas.YOLONASMixUp',
        prob=1.0,
        flip_prob={flip_prob},
        transforms=[affine]),
]
mixed = dict(
    type='RandomChoice', transforms={choices}, prob={shares})
train_pipeline = [*load, mixed, *finish]
# of the last epochs
closing_pipeline = [*load, affine, *finish]
'''
MIXES = dict(mosaic=('[mosaic, [affine]]', '[0.5, 0.5]'),
              mixup=('[blended, [affine]]', '[0.5, 0.5]'),
              both=('[mosaic, blended, [affine]]', '[0.4, 0.3, 0.3]'))

DATA = '''
train_dataset = dict(
    type='mmyolonas.CheckedCocoDataset',
    ann_file=train_ann_file,
    data_prefix=dict(img=train_images),
    metainfo=metainfo,
    strict={strict},
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    pin_memory={gpu},
    dataset={train_dataset})
'''

SCORED = '''{split}_dataloader = dict(
    batch_size=8,
    num_workers={val_workers},
    persistent_workers={val_persistent},
    pin_memory={gpu},
    dataset=dict(
        data_root='',
        ann_file={split}_ann_file,
        data_prefix=dict(img={split}_images),
        metainfo=metainfo,
        strict={strict},
        pipeline=test_pipeline))
{split}_evaluator = dict(ann_file={split}_ann_file, classwise=True, strict={strict})
'''

SAME = '''# There is no test split.
test_dataloader = val_dataloader
test_evaluator = val_evaluator
'''

SCHEDULE = '''
train_cfg = dict(max_epochs=max_epochs, val_interval={val_interval}{last})
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=False,
        begin=0,
        end=warmup_steps),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay={weight_decay}){rates})
auto_scale_lr = dict(base_batch_size={whole_batch})
randomness = dict(seed={seed})
{sync}{hooks}{tracking}default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
'''

TRACKING = '''visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), {backends}])
'''
BACKENDS = dict(tensorboard="dict(type='TensorboardVisBackend')",
                wandb="dict(type='WandbVisBackend', init_kwargs=dict(project='finetune'))",
                # MLflow refuses mmengine's default, a folder of files
                mlflow="dict(type='mmyolonas.NamedMLflowVisBackend', exp_name='finetune', "
                       "tracking_uri='sqlite:///mlflow.db')")

REPEATED = '''dict(
        {delete}type='RepeatDataset',  # for epochs of a useful length
        times={repeat},
        dataset={inner})'''

BALANCED = '''dict(
        {delete}type='ClassBalancedDataset',  # images of rare classes more often
        oversample_thr={balance},
        dataset=train_dataset)'''

HOOKS = '''custom_hooks = [
{first}    *_base_.custom_hooks[1:],
{more}]
'''

EMA = '''    dict(
        type='mmyolonas.ScheduledEMAHook',
        decay={decay},
        schedule='threshold'),
'''

CLOSE = '''    dict(
        type='mmyolonas.CloseAugmentationHook',
        epochs={closed},
        pipeline=closing_pipeline),
'''

PATIENCE = '''    dict(
        type='mmyolonas.PatienceHook',
        monitor={monitor!r},
        rule='greater',
        min_delta=1e-3,
        patience={patience}),  # validations
'''
