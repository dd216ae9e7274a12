"""How to train a pose model on a data set, from what was seen of it and of the machine."""
import math
import os
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.inspection.pose_shape import estimate_sigmas, uprightness
from mmyolonas.datasets.inspection.poses import PoseReport
from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.errors import UserError
from mmyolonas.workflows.finetune.finetune_settings import (
    FinetuneOptions,
    batch_share,
    epoch_repeats,
    usable_images,
)
from mmyolonas.workflows.finetune.recipe import choose_schedule
from mmyolonas.workflows.finetune.start_weights import StartWeights

# The recipe of configs/_base_/schedules/pose_small.py and yolonas_pose_n_mouse.py.
_BATCH, _LR, _EPOCHS, _TUNED = 8, 2e-3, 40, 0.2
_LR_OF_MODEL = {'n': 1.0, 's': 1.0, 'm': 0.8, 'l': 0.7}
_SIZES = (192, 256, 320, 416, 512, 640, 800, 960, 1280)
_MIN_SIDE = 64  # pixels that all but a quarter of the objects should have
#: A network that begins from nothing gets no slope from points half an object away if the
#: constants are narrower (exp(-0.64 / (2 (2 s)^2)) is 0.14 for 0.2, 0.0003 for 0.1).
_WIDE, _WIDE_UP_TO = (0.2, 0.1), 500  # images


@dataclass
class PoseSettings:
    """The settings of a training of a pose model.

    Attributes:
        model, pretrained, freeze, head_lr, seed, track: As in the options.
        input_size (tuple[int, int]): Width and height of the network's input.
        flip (bool): Whether images are mirrored left to right.
        max_rotation (float): Largest angle by which images are turned, degrees.
        sigmas (list[float]): OKS constants of the scores.
        train_sigmas (list[float]): Those of loss and assignment.
        use_oks (bool): Whether poses take part in the assignment.
        batch_size, epochs, warmup_steps, val_interval, repeat, steps: See
            ``FinetuneSettings``.
        lr, ema_decay (float): Of AdamW, and the average's.
        patience (int): Validations without a gain before the end; 0 for never.
        num_workers (int): Data workers.
        gpu (bool): Whether there is one.
        processes (int): Of a distributed training.
        reasons (list[str]): Why, in sentences.
    """
    model: str
    pretrained: Optional[str]
    input_size: Tuple[int, int]
    flip: bool
    max_rotation: float
    sigmas: List[float]
    train_sigmas: List[float]
    use_oks: bool
    batch_size: int
    epochs: int
    warmup_steps: int
    val_interval: int
    repeat: int
    steps: int
    lr: float
    ema_decay: float
    patience: int
    num_workers: int
    seed: int
    gpu: bool
    processes: int = 1
    freeze: int = 0
    head_lr: float = 1.0
    track: Tuple[str, ...] = ()
    reasons: List[str] = field(default_factory=list)


def choose_pose_settings(report: DataReport, poses: PoseReport, options: FinetuneOptions,
                         max_pixels: Optional[int] = None, gpu: bool = False,
                         start: Optional[StartWeights] = None,
                         processes: int = 1) -> PoseSettings:
    """Choose the settings of a training.

    Args:
        report (DataReport): What was seen of images and boxes.
        poses (PoseReport): And of key points.
        options (FinetuneOptions): What the user wants.
        max_pixels (int, optional): Pixels of a batch that fit into memory.
        gpu (bool): Whether there is one. Defaults to False.
        start (StartWeights, optional): What ``options.pretrained`` has learnt.
        processes (int): Of a distributed training. Defaults to 1.

    Raises:
        UserError: ``options.sigmas`` are of another number than the key points.
        DataError: No image can be read.
    """
    reasons: List[str] = []
    count = usable_images(report)
    size = _input_size(report, options, gpu, reasons)
    share = batch_share(count, size, options.batch or min(_BATCH * processes, max(1, count)),
                        max_pixels, processes, reasons)
    batch = share * processes
    repeat = epoch_repeats(count, batch, reasons)
    epochs = options.epochs or _EPOCHS
    steps = max(1, count * repeat // batch) * epochs
    schedule = choose_schedule(epochs, options.patience, False, reasons)
    sigmas = _sigmas(report, poses, options, reasons)
    experience = (start or StartWeights('')).experience if options.pretrained else 0.0
    wide = _WIDE[0] if count < _WIDE_UP_TO else _WIDE[1]
    train_sigmas = sigmas if experience > 0 else [max(sigma, wide) for sigma in sigmas]
    if train_sigmas != sigmas:
        reasons.append(f'training from little begins with OKS constants of at least {wide}, so '
                       'that points far off still have a slope to follow; scores keep their own')
    lr = _LR * math.sqrt(batch / _BATCH) * _TUNED**experience
    flip, rotation = _turning(poses, options, reasons)
    return PoseSettings(
        model=options.model, pretrained=options.pretrained, input_size=size, flip=flip,
        max_rotation=rotation, sigmas=sigmas, train_sigmas=train_sigmas,
        use_oks=experience > 0 or _objects(report) > 1.5, batch_size=share, epochs=epochs,
        warmup_steps=min(1000, max(1, 5 * round(steps / 75))), val_interval=schedule.val_interval,
        repeat=repeat, steps=steps,
        lr=float(f'{options.lr or lr * _LR_OF_MODEL.get(options.model, 1.0):.2g}'),
        ema_decay=0.99 if steps < 5000 else 0.997, patience=schedule.patience,
        num_workers=min(8, max(1, (os.cpu_count() or 2) // 2)), seed=options.seed, gpu=gpu,
        processes=processes, freeze=options.freeze, head_lr=options.head_lr,
        track=options.track, reasons=reasons)


def _objects(report: DataReport) -> float:
    """Return the objects of a training image that has any."""
    images = report.splits['train'].table.images
    return len(images) / max(1, len(np.unique(images)))


def areas_of(report: DataReport, name: str = 'train') -> np.ndarray:
    """Return the areas of a part's objects, stated or 0.53 of the box, in pixels."""
    part = report.splits[name]
    boxes = part.table.boxes
    own = 0.53 * (boxes[:, 2:] - boxes[:, :2]).prod(1)
    annotations = part.split.data['annotations']
    return np.array([annotations[source].get('area') or area
                     for source, area in zip(part.table.sources, own)], float)


def _sigmas(report: DataReport, poses: PoseReport, options: FinetuneOptions,
            reasons: List[str]) -> List[float]:
    names = poses.keypoints.names
    wanted: Optional[Sequence[float]] = options.sigmas
    if wanted:
        if len(wanted) not in (1, len(names)):
            raise UserError(f'--sigmas takes one number or {len(names)}, one for each key point; '
                            f'got {len(wanted)}.')
        return list(wanted) if len(wanted) > 1 else list(wanted) * len(names)
    sigmas, reason = estimate_sigmas(names, poses.tables['train'], areas_of(report))
    reasons.append(reason)
    return sigmas


def _turning(poses: PoseReport, options: FinetuneOptions,
             reasons: List[str]) -> Tuple[bool, float]:
    """Return whether images are mirrored, and how far they are turned."""
    known = poses.keypoints.flip is not None
    if options.flip in ('both', 'horizontal') and not known:
        raise UserError(f'--flip {options.flip}: nobody can tell which key points a mirror '
                        'exchanges; name them with left and right, or give flip_idx in the '
                        'data.yaml.')
    upright = uprightness(poses.tables['train'])
    if options.flip == 'none':
        return False, 20.0
    if options.flip == 'both' or (options.flip == 'auto' and upright is not None
                                  and upright < 0.5):
        reasons.append('images are turned by any angle: objects lie in all directions (--flip '
                       'horizontal for up to 20 degrees)')
        return known, 180.0
    reasons.append('images are mirrored left to right, and pairs of key points exchanged' if known
                   else 'images are not mirrored: which key points a mirror exchanges is not known')
    return known, 20.0


def _input_size(report: DataReport, options: FinetuneOptions, gpu: bool,
                reasons: List[str]) -> Tuple[int, int]:
    """Return width and height of the input: the images' own shape where they share one."""
    part = report.splits['train']
    sizes = np.concatenate([item.sizes for item in report.splits.values()])
    side = options.imgsz
    if not side:
        smallest, largest = (320, 1280) if gpu else (192, 640)
        relative = np.sqrt(areas_of(report)) / part.sizes[part.table.images].max(1, initial=1)
        needed = _MIN_SIDE / max(float(np.percentile(relative, 25)), 1e-6)
        side = next((s for s in _SIZES if smallest <= s <= largest and s >= needed), largest)
        side = min(side, max(64, 32 * math.ceil(float(np.median(sizes.max(1))) / 32)))
        reasons.append(f'image size {side}: three quarters of the objects keep about {_MIN_SIDE} '
                       'pixels, or as many as the images and the machine allow (--imgsz)')
    aspect = sizes[:, 1] / sizes[:, 0]
    middle = float(np.median(aspect))
    if np.abs(aspect / middle - 1).max() > 0.1:
        middle = 1.0
    pair = (side, side * middle) if middle <= 1 else (side / middle, side)
    return tuple(32 * math.ceil(round(value) / 32) for value in pair)
