"""Writing a config that its reader can understand and change."""
import math
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Sequence

from mmengine.config import Config

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_text
from mmyolonas.utils.inert import literal, write_config_values
from mmyolonas.workflows.finetune.finetune_settings import FinetuneSettings

#: Names and paths of the data, beside the config.
VALUES_NAME = 'config_values.json'
_MANY = 200  # objects of an image, from which the base config's 300 detections are too few

_HEAD = '''# YOLO-NAS on your own data. An ordinary config: change what you like, then train on
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

batch_size = {batch_size}
max_epochs = {epochs}  # {steps} steps in all
warmup_steps = {warmup_steps}
lr = {lr}
num_workers = {num_workers}
# Weights to start from; the class layers are left out if the number of classes
# differs.
load_from = dataset_values['load_from']
'''

_MODEL = '''
model = dict(
{architecture}    bbox_head=dict({head}num_classes=len(classes)),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.65){most}))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='mmyolonas.YOLONASRandomAffine',
        img_scale=fit_scale,
        max_translate_ratio=0.15,
        scaling_ratio_range=(0.75, 1.3),
        flip_prob={flip_prob}),
{vertical}    dict(
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
'''

_DATA = '''
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

_SCORED = '''{split}_dataloader = dict(
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

_SAME = '''# There is no test split.
test_dataloader = val_dataloader
test_evaluator = val_evaluator
'''

_SCHEDULE = '''
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
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay={weight_decay}))
auto_scale_lr = dict(base_batch_size=batch_size)
randomness = dict(seed={seed})
{ema}default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
'''

_REPEATED = '''dict(
        _delete_=True,
        type='RepeatDataset',  # for epochs of a useful length
        times={repeat},
        dataset=train_dataset)'''

_EMA = '''custom_hooks = [
    dict(
        type='mmyolonas.ScheduledEMAHook',
        decay={decay},
        schedule='threshold'),
    *_base_.custom_hooks[1:],
]
'''


def write_config(path: Path, classes: Sequence[str], splits: Dict[str, CocoSplit],
                 settings: FinetuneSettings) -> None:
    """Write a config, and a JSON beside it that holds every name and path.

    It inherits the package's base files by name (``mmyolonas::_base_/...``), so
    it works wherever the package is, installed or a checkout.

    Args:
        path (Path): The config to write.
        classes (Sequence[str]): Class names.
        splits (dict[str, CocoSplit]): Parts whose annotations are files.
        settings (FinetuneSettings): The settings.
    """
    values: Dict[str, Any] = dict(classes=list(classes), load_from=settings.pretrained)
    for name, split in splits.items():
        values[f'{name}_ann_file'] = str(split.ann_file.absolute())
        values[f'{name}_images'] = str(split.images.absolute()) + '/'
    write_config_values(path.with_name(VALUES_NAME), dict(dataset_values=values))
    write_text(path, _config_text(classes, splits, settings))


def _config_text(classes: Sequence[str], splits: Dict[str, CocoSplit],
                 settings: FinetuneSettings) -> str:
    known = [{category['name'] for category in split.data['categories']}
             for split in splits.values()]
    values: Dict[str, Any] = dict(
        vars(settings), values_name=VALUES_NAME, bases=_bases(settings.model),
        files=_files(splits),
        strict=all(names.issuperset(classes) for names in known),
        flip_prob=0 if settings.flip == 'none' else 0.5,
        vertical="    dict(type='RandomFlip', prob=0.5, direction='vertical'),\n"
                 if settings.flip == 'both' else '',
        val_workers=settings.num_workers if settings.gpu else 0, val_persistent=settings.gpu,
        train_dataset=(_REPEATED.format(repeat=settings.repeat) if settings.repeat > 1
                       else "dict(data_root='', **train_dataset)"),
        most=_detections(splits),
        # the last epoch is validated whatever the interval
        last='' if settings.epochs % settings.val_interval == 0 else (
            f',\n                 dynamic_intervals=[({settings.epochs}, 1)]'),
        ema='' if settings.ema_decay == 0.99 else _EMA.format(decay=settings.ema_decay))
    values.update(_architecture(settings.model))
    val, test = (_SCORED.replace('{split}', split) for split in ('val', 'test'))
    parts = [_HEAD, _MODEL, _DATA, val, test if 'test' in splits else _SAME, _SCHEDULE]
    return ''.join(part.format(**values) for part in parts)


def _detections(splits: Dict[str, CocoSplit]) -> str:
    """Return the settings that let a model find all objects of crowded images."""
    most = max((max(Counter(a['image_id'] for a in split.data['annotations']).values(), default=0)
                for split in splits.values()), default=0)
    if most <= _MANY:
        return ''
    # room for mistakes, in hundreds
    limit = 100 * math.ceil(1.5 * most / 100)
    return f',\n                  max_per_img={limit}, nms_pre={max(1000, 4 * limit)}'


def base_model(model: str) -> Config:
    """Return a config that holds ``model``.

    Args:
        model (str): 's', 'm', 'l', or a config file.

    Raises:
        UserError: It defines something else too, or is of another kind.
    """
    if not model.endswith('.py'):
        return load_config(f'mmyolonas::yolonas/yolonas_{model}_coco.py')
    cfg = load_config(model)
    if set(cfg.keys()) != {'model'} or 'bbox_head' not in cfg.model:
        raise UserError(f'--model {model}: the file must define model = dict(...) of a detector '
                        f'and nothing else; it defines {", ".join(cfg.keys()) or "nothing"}.')
    return Config(dict(cfg.to_dict(), default_scope='mmdet'))


def _bases(model: str) -> str:
    names = ['mmyolonas::_base_/models/yolonas_s.py',
             'mmyolonas::_base_/datasets/coco_detection.py',
             'mmyolonas::_base_/schedules/small_data.py',
             'mmyolonas::_base_/default_runtime.py']
    if model.endswith('.py'):
        names[0] = str(Path(model).absolute())
    names.append(VALUES_NAME)
    return '[\n' + ''.join(f'    {literal(name)},\n' for name in names) + ']'


def _architecture(model: str) -> Dict[str, str]:
    """Return the lines that make S another model."""
    if model == 's' or model.endswith('.py'):
        return dict(architecture='', head='')
    other = base_model(model).model
    lines = (f'    backbone=dict(arch={literal(other.backbone.arch)}),\n'
             f'    neck=dict(arch={literal(other.neck.arch)}),\n')
    return dict(architecture=lines, head=f'feat_channels={tuple(other.bbox_head.feat_channels)}, ')


def _files(splits: Dict[str, CocoSplit]) -> str:
    lines = []
    for name in splits:
        lines += [f"{name}_{key} = dataset_values['{name}_{key}']"
                  for key in ('ann_file', 'images')]
    return '\n'.join(lines)
