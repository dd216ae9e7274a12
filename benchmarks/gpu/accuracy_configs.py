"""The configs of stage 3: the recipe for small data at 640 px, on a GPU."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from benchmarks.common import ROOT
from benchmarks.gpu.items import Settings
from mmyolonas.utils.files import write_text

BATCH = 16
#: Steps of each training of the pseudo-labels: some 30,000 images.
PSEUDO_STEPS = 1900
#: Of the recipe for small data at batch 4, grown by the root of the batch.
RATE = dict(s=1.6e-3, m=1.3e-3)


@dataclass(frozen=True)
class Arm:
    """A training.

    Args:
        data (str): Data set.
        arch (str): ``'s'`` or ``'m'``.
        seed (int): Of weights, order and augmentation.
        epochs (int): Its length.
        teacher (Path, optional): Checkpoint of an M to learn from.
        start (Path, optional): Weights to start from, at a hundredth of the rate.
        qat (bool): Whether it is quantisation-aware.
        note (str): Part of the name.
    """
    data: str
    arch: str
    seed: int
    epochs: int
    teacher: Optional[Path] = None
    start: Optional[Path] = None
    qat: bool = False
    note: str = ''

    @property
    def name(self) -> str:
        """str: Name of its folder."""
        kind = '_distilled' if self.teacher else ''
        return f'{self.data}_{self.arch}_{self.seed}{kind}{self.note}_{self.epochs}'


def write_config(arm: Arm, settings: Settings, path: Path) -> Path:
    """Write the config of a training, all of it plain values; return its path."""
    cfg = make_config(arm, settings)
    write_text(path, cfg.pretty_text)
    return path


def make_config(arm: Arm, settings: Settings) -> Any:
    """Return the config of a training."""
    from mmyolonas.utils.configs import load_config
    name = 'quantization/yolonas_s_qat_bccd.py' if arm.qat else 'yolonas/yolonas_s_bccd_640.py'
    cfg = load_config(str(ROOT / 'configs' / name))
    _set_model(cfg, arm)
    _set_data(cfg, arm, settings)
    _set_schedule(cfg, arm, settings)
    cfg.load_from = None
    if arm.qat:
        cfg.custom_hooks[0].update(checkpoint=str(arm.start),
                                   num_images=2 if settings.rehearse else 64)
    elif arm.start:
        cfg.load_from = str(arm.start)
    if arm.teacher:
        teacher = Path(str(arm.teacher)).parent
        cfg.custom_hooks.append(dict(
            type='mmyolonas.DistillationHook', weights=dict(cls=1.0, dfl=1.0),
            teacher=dict(config=str(teacher.with_suffix('.py')), checkpoint=str(arm.teacher))))
    return cfg


def _set_model(cfg: Any, arm: Arm) -> None:
    model = cfg.model.model if arm.qat else cfg.model
    if arm.arch == 'm':
        model.backbone.arch = model.neck.arch = 'm'
        model.bbox_head.feat_channels = (96, 192, 384)
    model.bbox_head.num_classes = len(_classes(arm.data, cfg))


def _classes(data: str, cfg: Any) -> tuple:
    if data == 'bccd':
        return tuple(cfg.metainfo.classes)
    return ('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole')  # of its data.yaml


def _set_data(cfg: Any, arm: Arm, settings: Settings) -> None:
    """Point the loaders to the data; boards are square, and mirrored both ways like cells."""
    folder = settings.data_set(arm.data)
    files = _annotations(arm.data, folder, settings)
    size = _size(arm.data, settings)
    classes = _classes(arm.data, cfg)
    for part, split in (('train', 'train'), ('val', 'valid'), ('test', 'test')):
        loader = cfg[f'{part}_dataloader']
        loader.update(num_workers=settings.workers if part == 'train' else 0)
        loader.dataset.update(data_root='', ann_file=str(files[split]['annotations']),
                              data_prefix=dict(img=f'{files[split]["images"]}/'),
                              metainfo=dict(classes=classes))
        _resize(loader.dataset.pipeline, size)
        if part != 'train':
            cfg[f'{part}_evaluator'].ann_file = str(files[split]['annotations'])
    cfg.train_dataloader.update(batch_size=BATCH, persistent_workers=settings.workers > 0,
                                pin_memory=settings.on_gpu)
    for part in ('val', 'test'):
        cfg[f'{part}_dataloader'].update(batch_size=8)


def _size(data: str, settings: Settings) -> Tuple[int, int]:
    """Return width and height of the images of a data set."""
    return (64, 64) if settings.rehearse else (640, 480 if data == 'bccd' else 640)


def _resize(pipeline: List[Any], size: Tuple[int, int]) -> None:
    """Give a pipeline images of a size, padded to a multiple of 32."""
    for step in pipeline:
        if step.type == 'mmyolonas.YOLONASRandomAffine':
            step.img_scale = size
        elif step.type == 'Resize':
            step.scale = size
        elif step.type == 'Pad':
            step.size = (size[0], 32 * -(-size[1] // 32))


def write_pseudo_configs(settings: Settings) -> Path:
    """Write the configs of benchmarks/pseudo_labels.py at 640 px; return their folder."""
    from mmyolonas.utils.configs import load_config
    folder = settings.folder('accuracy', 'pseudo_configs')
    steps, interval = (2, 2) if settings.rehearse else (PSEUDO_STEPS, PSEUDO_STEPS // 5)
    batch = 4 if settings.rehearse else BATCH
    for name in ('teacher', 'student'):
        file = f'yolonas_s_bccd_{name}.py'
        cfg = load_config(str(ROOT / 'configs' / 'pseudo_labels' / file))
        data = cfg.train_dataloader.dataset
        loaders = [data, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
        for part in [*loaders[1:], *(data.get('datasets') or [data])]:
            _resize(part.pipeline, _size('bccd', settings))
        cfg.train_dataloader.update(batch_size=batch, num_workers=settings.workers,
                                    persistent_workers=settings.workers > 0)
        if 'batch_size' in cfg.train_dataloader.sampler:
            cfg.train_dataloader.sampler.batch_size = batch
        cfg.train_cfg.update(max_iters=steps, val_interval=interval)
        cfg.param_scheduler[1].update(end=steps, T_max=steps)
        cfg.default_hooks.checkpoint.interval = interval
        cfg.optim_wrapper.optimizer.lr = RATE['s']
        write_text(folder / file, cfg.pretty_text)
    return folder


def _annotations(data: str, folder: Path, settings: Settings) -> Dict[str, Dict[str, Path]]:
    """Return annotation file and image folder of each split; YOLO's text becomes COCO's JSON."""
    if data == 'bccd':
        return {split: dict(annotations=folder / split / '_annotations.coco.json',
                            images=folder / split) for split in ('train', 'valid', 'test')}
    from mmyolonas.datasets.formats.layouts import read_layout
    made = settings.folder('accuracy', f'{data}_annotations')
    found = {}
    for name, split in read_layout(folder, 'yolo').splits.items():
        path = made / f'{name}.json'
        write_text(path, json.dumps(split.data))
        found[dict(val='valid').get(name, name)] = dict(annotations=path,
                                                        images=split.images.absolute())
    return found


def _set_schedule(cfg: Any, arm: Arm, settings: Settings) -> None:
    tuned = arm.start is not None
    steps = 2 if settings.rehearse else 100
    cfg.train_cfg.update(max_epochs=arm.epochs, val_interval=arm.epochs)
    cfg.param_scheduler[0].end = steps
    cfg.param_scheduler[1].update(end=arm.epochs, T_max=arm.epochs)
    rate = RATE[arm.arch] / (100 if tuned else 1)
    cfg.optim_wrapper.optimizer.lr = rate
    if tuned and not arm.qat:  # the quantised arm's: little decay, cosine to 0, fp32, no average
        cfg.optim_wrapper.optimizer.weight_decay = 1e-4
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.param_scheduler[1].eta_min_ratio = 0.01
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks
                            if hook.type != 'mmyolonas.ScheduledEMAHook']
    cfg.default_hooks.checkpoint.update(interval=max(1, arm.epochs // 20), max_keep_ckpts=1,
                                        save_best=None)
    cfg.randomness.seed = arm.seed
    cfg.env_cfg.cudnn_benchmark = settings.on_gpu
