"""Writing the config of a pose model's fine-tuning."""
from pathlib import Path
from typing import Any, Dict, Sequence

import numpy as np
from mmengine.config import Config

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.keypoints import Keypoints
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_text
from mmyolonas.utils.inert import literal, write_config_values
from mmyolonas.workflows.finetune import config_parts as parts
from mmyolonas.workflows.finetune.finetune_config import VALUES_NAME, own_hooks, tracking
from mmyolonas.workflows.finetune.pose_settings import PoseSettings

HEAD = '''# YOLO-NAS-Pose on your own data. An ordinary config: change what you like, then train
# on with tools/train.py. Names and paths are in {values_name}, as data: a config
# is code, and what a data set calls its points must not become part of it.
_base_ = {bases}

dataset_values = _base_.dataset_values
# The object, and its key points in the order of the annotation files. `swap` names the
# point that takes the place of one in a mirror image.
classes = tuple(dataset_values['classes'])
points = dataset_values['keypoints']
num_keypoints = len(points)
# How exactly each point can be placed, relative to the size of the object (OKS constants):
# of the scores, and of the training, which has to find its way from far off first.
sigmas = {sigmas}
train_sigmas = {train_sigmas}
metainfo = dict(
    dataset_name='finetune',
    keypoint_info={{point['id']: point for point in points}},
    skeleton_info=dict(enumerate(dataset_values['skeleton'])),
    joint_weights=[1.0] * num_keypoints,
    sigmas=sigmas)
# Annotations in COCO format, and the folder that their file names start from.
{files}

# (width, height) of the network's input, multiples of 32.
input_size = {input_size}

batch_size = {batch_size}{of_each}
max_epochs = {epochs}  # {steps} steps in all
warmup_steps = {warmup_steps}
lr = {lr}
num_workers = {num_workers}
# Weights to start from; layers of another number of key points are left out.
load_from = dataset_values['load_from']
'''

MODEL = '''
model = dict(
{architecture}    head=dict(
        num_keypoints=num_keypoints,
        sigmas=train_sigmas,
{head}        assigner=dict(use_oks={use_oks})),
    test_cfg=dict(max_per_img={most}))

resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
augment = [
{flip}    dict(type='mmyolonas.PoseBrightnessContrast', prob=0.5),
    dict(
        type='mmyolonas.HSVRandomAug',
        hue_delta=20,
        saturation_delta=20,
        value_delta=20,
        prob=0.5),
    dict(
        type='mmyolonas.PoseRandomAffine',
        max_rotation={max_rotation},
        scale_range=(0.8, 1.2),
        max_translate=0.1,
        prob=0.75),
]
train_pipeline = [*_base_.load, resize, *augment, *_base_.finish]
test_pipeline = [dict(type='LoadImage'), resize, _base_.pack_test]
train_dataset = dict(
    type='mmyolonas.CheckedPoseDataset',
    data_mode=_base_.data_mode,
    test_mode=True,  # how mmpose keeps images without objects
    ann_file=train_ann_file,
    data_prefix=dict(img=train_images),
    metainfo=metainfo,
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
    persistent_workers={gpu},
    dataset=dict(
        ann_file={split}_ann_file,
        data_prefix=dict(img={split}_images),
        metainfo=metainfo,
        pipeline=test_pipeline))
{split}_evaluator = [
    dict(type='mmyolonas.PoseCocoMetric', ann_file={split}_ann_file, max_dets={max_dets}),
    # share of the points within a tenth of the diagonal of the box
    dict(type='mmyolonas.PosePCKMetric', thr=0.1),
]
'''

SCHEDULE = parts.SCHEDULE.replace(', weight_decay={weight_decay}', '').replace(
    'checkpoint=dict(max_keep_ckpts=1)', 'checkpoint=dict(interval=1, max_keep_ckpts=1)')

FLIP = "    dict(type='mmyolonas.PoseRandomFlip', prob=0.5),\n"


def write_pose_config(path: Path, name: str, keypoints: Keypoints, splits: Dict[str, CocoSplit],
                      settings: PoseSettings) -> None:
    """Write a config, and a JSON beside it that holds every name and path.

    Args:
        path (Path): The config to write.
        name (str): What the objects are called.
        keypoints (Keypoints): Their key points.
        splits (dict[str, CocoSplit]): Parts whose annotations are files.
        settings (PoseSettings): The settings.
    """
    flip = keypoints.flip or range(len(keypoints.names))
    points = [dict(name=point, id=index, color=_colour(index, len(keypoints.names)), type='',
                   swap=keypoints.names[other] if other != index else '')
              for index, (point, other) in enumerate(zip(keypoints.names, flip))]
    links = [dict(link=[keypoints.names[a], keypoints.names[b]], id=index, color=[0, 128, 255])
             for index, (a, b) in enumerate(keypoints.links)]
    values: Dict[str, Any] = dict(classes=[name], keypoints=points, skeleton=links,
                                  load_from=settings.pretrained)
    for part, split in splits.items():
        values[f'{part}_ann_file'] = str(split.ann_file.absolute())
        values[f'{part}_images'] = str(split.images.absolute()) + '/'
    write_config_values(path.with_name(VALUES_NAME), dict(dataset_values=values))
    write_text(path, _text(splits, settings))


def _colour(index: int, count: int) -> Sequence[int]:
    """Return an RGB colour of the rainbow."""
    import colorsys
    return [round(255 * channel) for channel in colorsys.hsv_to_rgb(index / count, 0.9, 1.0)]


def _text(splits: Dict[str, CocoSplit], settings: PoseSettings) -> str:
    most = max((int(np.bincount([a['image_id'] for a in split.data['annotations']]).max())
                for split in splits.values() if split.data['annotations']), default=1)
    several = settings.processes > 1
    delete = '_delete_=True,\n        '
    values: Dict[str, Any] = dict(
        vars(settings), values_name=VALUES_NAME, bases=_bases(), most=max(30, 2 * most),
        max_dets=max(20, most), files='\n'.join(
            f"{part}_{key} = dataset_values['{part}_{key}']"
            for part in splits for key in ('ann_file', 'images')),
        of_each=f'  # of each of {settings.processes} processes' if several else '',
        whole_batch=f'batch_size * {settings.processes}' if several else 'batch_size',
        sync="sync_bn = 'torch'\n" if several and settings.batch_size < 8 else '',
        rates='' if settings.head_lr == 1 else (
            f',\n    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult={settings.head_lr})))'),
        flip=FLIP if settings.flip else '', val_workers=settings.num_workers * settings.gpu,
        last='' if settings.epochs % settings.val_interval == 0 else (
            f',\n                 dynamic_intervals=[({settings.epochs}, 1)]'),
        hooks=own_hooks(settings.ema_decay, settings.patience, 'coco/AP'),
        tracking=tracking(settings.track),
        train_dataset=(parts.REPEATED.format(delete=delete, repeat=settings.repeat,
                                             inner='train_dataset')
                       if settings.repeat > 1 else 'train_dataset'),
        **_architecture(settings))
    val, test = (SCORED.replace('{split}', split) for split in ('val', 'test'))
    texts = [HEAD, MODEL, val, test if 'test' in splits else parts.SAME, SCHEDULE]
    return ''.join(text.format(**values) for text in texts)


def _bases() -> str:
    names = ['mmyolonas::_base_/models/yolonas_pose.py', 'mmyolonas::_base_/datasets/pose_small.py',
             'mmyolonas::_base_/schedules/pose_small.py', 'mmyolonas::_base_/pose_runtime.py',
             VALUES_NAME]
    return '[\n' + ''.join(f'    {literal(name)},\n' for name in names) + ']'


def base_pose_model(model: str) -> Config:
    """Return a config that holds ``model``.

    Args:
        model (str): 'n', 's', 'm', 'l', or a config file with ``model = dict(...)`` alone,
            of what differs from N.

    Raises:
        UserError: The file defines something else.
    """
    if not model.endswith('.py'):
        return load_config(f'mmyolonas::yolonas_pose/yolonas_pose_{model}_coco.py')
    own = load_config(model)
    if set(own.keys()) != {'model'} or 'bbox_head' in own.model:
        raise UserError(f'--model {model}: the file must define model = dict(...) of a pose model '
                        'and nothing else.')
    base = load_config('mmyolonas::yolonas_pose/yolonas_pose_n_coco.py')
    base = base.to_dict()
    return Config(dict(base, model=_merged(base['model'], own.model.to_dict())))


def _merged(base: Any, own: Any) -> Any:
    """Return a base's values with one's own; also a table in the place of a name."""
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}


def _architecture(settings: PoseSettings) -> Dict[str, str]:
    """Return the lines in which the model differs from N's."""
    model, base = (base_pose_model(name).model.to_dict() for name in (settings.model, 'n'))
    changed = {key: _difference(base.get(key), model[key]) for key in model
               if model[key] != base.get(key)}
    if settings.freeze:
        changed.setdefault('backbone', {})['frozen_stages'] = settings.freeze
    head = changed.pop('head', {})
    for key in ('num_keypoints', 'sigmas', 'assigner'):
        head.pop(key, None)
    changed.pop('test_cfg', None)
    lines = ''.join(f'    {key}={_source(value)},\n' for key, value in changed.items())
    return dict(architecture=lines,
                head=''.join(f'        {key}={_source(value)},\n' for key, value in head.items()))


def _difference(base: Any, other: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(other, dict):
        replaces = isinstance(other, dict) and base is not None
        return dict(other, _delete_=True) if replaces else other
    found = {key: _difference(base.get(key), value) for key, value in other.items()
             if value != base.get(key)}
    if set(base) - set(other):
        return dict(other, _delete_=True)
    return found


def _source(value: Any) -> str:
    """Return Python source, dictionaries as ``dict(...)``."""
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        return 'dict(' + ', '.join(f'{key}={_source(item)}' for key, item in value.items()) + ')'
    return literal(value)
