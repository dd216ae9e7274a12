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
from mmyolonas.workflows.finetune import config_parts as parts
from mmyolonas.workflows.finetune.finetune_settings import FinetuneSettings

#: Names and paths of the data, beside the config.
VALUES_NAME = 'config_values.json'
_MANY = 200  # objects of an image, from which the base config's 300 detections are too few


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
        train_dataset=_train_dataset(settings), most=_detections(splits),
        # the last epoch is validated whatever the interval
        last='' if settings.epochs % settings.val_interval == 0 else (
            f',\n                 dynamic_intervals=[({settings.epochs}, 1)]'),
        hooks=own_hooks(settings.ema_decay, settings.patience, 'coco/bbox_mAP', settings.closed),
        tracking=tracking(settings.track),
        **_schedule(settings))
    values['pipeline'] = parts.PLAIN_PIPELINE
    if settings.mix != 'none':
        choices, shares = parts.MIXES[settings.mix]
        values['pipeline'] = parts.MIXED_PIPELINE.format(
            choices=choices, shares=shares, flip_prob=values['flip_prob'])
    values.update(_architecture(settings))
    val, test = (parts.SCORED.replace('{split}', split) for split in ('val', 'test'))
    texts = [parts.HEAD, parts.MODEL, parts.DATA, val, test if 'test' in splits else parts.SAME,
             parts.SCHEDULE]
    return ''.join(text.format(**values) for text in texts)


def _schedule(settings: FinetuneSettings) -> Dict[str, str]:
    """Return what several processes and other rates of the head add."""
    several = settings.processes > 1
    rates = '' if settings.head_lr == 1 else (
        f',\n    paramwise_cfg=dict(custom_keys=dict(bbox_head=dict(lr_mult={settings.head_lr})))')
    return dict(
        rates=rates, of_each=f'  # of each of {settings.processes} processes' if several else '',
        whole_batch=f'batch_size * {settings.processes}' if several else 'batch_size',
        # statistics of few images are poor
        sync="sync_bn = 'torch'\n" if several and settings.batch_size < 8 else '')


def _train_dataset(settings: FinetuneSettings) -> str:
    """Return the training data of the loader, repeated and balanced as the settings say."""
    delete = '_delete_=True,\n        '
    inner, wrapped = 'train_dataset', settings.repeat > 1
    if settings.balance:
        inner = parts.BALANCED.format(delete='' if wrapped else delete, balance=settings.balance)
    if wrapped:
        inner = parts.REPEATED.format(delete=delete, repeat=settings.repeat, inner=inner)
    return "dict(data_root='', **train_dataset)" if inner == 'train_dataset' else inner


def own_hooks(ema_decay: float, patience: int, monitor: str, closed: int = 0) -> str:
    """Return the hooks that the base config lacks; nothing if it has them all.

    Args:
        ema_decay (float): Of the average.
        patience (int): Validations without a gain before the end; 0 for never.
        monitor (str): The score that has to gain.
        closed (int): Epochs at the end without mixed images. Defaults to 0.
    """
    ema = ema_decay != 0.99
    more = ''
    if closed:
        more += parts.CLOSE.format(closed=closed)
    if patience:
        more += parts.PATIENCE.format(patience=patience, monitor=monitor)
    if not (ema or more):
        return ''
    first = parts.EMA.format(decay=ema_decay) if ema else '    _base_.custom_hooks[0],\n'
    return parts.HOOKS.format(first=first, more=more)


def tracking(names: Sequence[str]) -> str:
    """Return the visualiser of a config that writes curves for other programs too."""
    if not names:
        return ''
    return parts.TRACKING.format(backends=', '.join(parts.BACKENDS[name] for name in names))


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


def _architecture(settings: FinetuneSettings) -> Dict[str, str]:
    """Return the lines that make S another model, freeze stages and change the image size."""
    model, lines, backbone, head = settings.model, '', {}, ''
    resizes = ([f"dict(type='mmyolonas.BatchRandomResize', seed={settings.seed})"]
               if settings.multi_scale else [])
    resizes += ["dict(type='mmyolonas.BatchGrowingResize')"] if settings.grow else []
    if resizes:
        lines += ('    data_preprocessor=dict(batch_augments=[\n'
                  + ''.join(f'        {item},\n' for item in resizes) + '    ]),\n')
    neck = ''
    if not (model == 's' or model.endswith('.py')):
        other = base_model(model).model
        backbone['arch'] = other.backbone.arch
        neck = f'    neck=dict(arch={literal(other.neck.arch)}),\n'
        head = f'feat_channels={tuple(other.bbox_head.feat_channels)}, '
    if settings.freeze:
        backbone['frozen_stages'] = settings.freeze
    if backbone:
        items = ', '.join(f'{key}={literal(value)}' for key, value in backbone.items())
        lines += f'    backbone=dict({items}),\n'
    return dict(architecture=lines + neck, head=head)


def _files(splits: Dict[str, CocoSplit]) -> str:
    lines = []
    for name in splits:
        lines += [f"{name}_{key} = dataset_values['{name}_{key}']"
                  for key in ('ann_file', 'images')]
    return '\n'.join(lines)
