"""How to train on a data set, from what was seen of it and of the machine."""
import math
import os
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy as np

from mmyolonas.datasets.inspection.data_warnings import relative_sides
from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.data_error import DataError
from mmyolonas.workflows.finetune.mirroring import choose_flip
from mmyolonas.workflows.finetune.recipe import choose_balance, choose_mix, choose_schedule
from mmyolonas.workflows.finetune.start_weights import StartWeights

# The recipe of configs/yolonas/yolonas_s_bccd.py, which the rules below extend.
_BATCH, _LR, _DECAY, _EPOCHS = 4, 8e-4, 1e-2, 30
# From trained weights: the RF100 recipe of SuperGradients, batch 16.
_TUNED_BATCH, _TUNED_LR, _TUNED_DECAY = 16, 5e-4, 1e-4
_LR_OF_MODEL = {'s': 1.0, 'm': 0.8, 'l': 0.7}
_MIN_STEPS = 50  # of an epoch: images of tiny sets are repeated
_SIZES = (320, 416, 512, 640, 800, 960, 1280)
_MIN_SIDE = 8  # pixels that all but a tenth of the objects should have


@dataclass
class FinetuneOptions:
    """What the user asks for; None leaves a choice to the data and the machine.

    Args:
        model: 's', 'm', 'l', or a config file that defines ``model`` alone.
        pretrained: Checkpoint to start from.
        epochs: Number of epochs.
        imgsz: Longer side of the images in training, in pixels.
        batch: Images of a step.
        flip: 'auto', 'both', 'horizontal' or 'none'.
        lr: Highest learning rate.
        seed: Of weights, order and augmentation.
        mix: 'auto', 'none', 'mosaic', 'mixup' or 'both'.
        balance: 'auto', 'on' or 'off': whether rare classes are shown more often.
        multi_scale: Whether the image size changes during training.
        freeze: First stages of the backbone that keep their weights; 0 for none.
        head_lr: Factor of the head's learning rate.
        patience: Epochs without a gain after which training ends; 0 for never.
        grow: Whether the first epochs are trained on smaller images.
        task: 'detect' or 'pose'.
        sigmas: OKS constants of the key points, one for all or one each.
        track: Back ends that curves are written for: 'tensorboard', 'wandb', 'mlflow'.
    """
    model: str = 's'
    pretrained: Optional[str] = None
    epochs: Optional[int] = None
    imgsz: Optional[int] = None
    batch: Optional[int] = None
    flip: str = 'auto'
    lr: Optional[float] = None
    seed: int = 0
    mix: str = 'auto'
    balance: str = 'auto'
    multi_scale: bool = False
    freeze: int = 0
    head_lr: float = 1.0
    patience: Optional[int] = None
    grow: bool = False
    task: str = 'detect'
    sigmas: Optional[Tuple[float, ...]] = None
    track: Tuple[str, ...] = ()


@dataclass
class FinetuneSettings:
    """The settings of a training.

    Attributes:
        model, pretrained: As in the options.
        fit_scale (tuple[int, int]): Width and height that images are fitted to.
        img_scale (tuple[int, int]): The same padded to multiples of 32.
        flip (str): 'both', 'horizontal' or 'none'.
        batch_size, epochs, warmup_steps, val_interval (int): Plain.
        repeat (int): How often an image occurs in an epoch.
        steps (int): Steps of the whole training.
        lr, weight_decay, ema_decay (float): Of AdamW, and the average's.
        num_workers, seed (int): Data workers, and the seed.
        gpu (bool): Whether there is one.
        processes (int): Of a distributed training; each takes ``batch_size`` images.
        mix (str): 'none', 'mosaic', 'mixup' or 'both'.
        closed (int): Epochs at the end without mixed images.
        balance (float): Share of the images that rare classes are brought towards; 0 for
            no balancing.
        multi_scale, freeze, head_lr, grow, track: As in the options.
        patience (int): Validations without a gain before the end; 0 for never.
        reasons (list[str]): Why, in sentences.
    """
    model: str
    pretrained: Optional[str]
    fit_scale: Tuple[int, int]
    img_scale: Tuple[int, int]
    flip: str
    batch_size: int
    epochs: int
    warmup_steps: int
    val_interval: int
    repeat: int
    steps: int
    lr: float
    weight_decay: float
    ema_decay: float
    num_workers: int
    seed: int
    gpu: bool
    processes: int = 1
    mix: str = 'none'
    closed: int = 0
    balance: float = 0.0
    multi_scale: bool = False
    freeze: int = 0
    head_lr: float = 1.0
    patience: int = 0
    grow: bool = False
    track: Tuple[str, ...] = ()
    reasons: List[str] = field(default_factory=list)


def choose_settings(report: DataReport, options: FinetuneOptions, max_pixels: Optional[int] = None,
                    gpu: bool = False, cpus: Optional[int] = None,
                    start: Optional[StartWeights] = None,
                    processes: int = 1) -> FinetuneSettings:
    """Choose the settings of a training.

    Args:
        report (DataReport): What was seen of the data.
        options (FinetuneOptions): What the user wants.
        max_pixels (int, optional): Pixels of a batch that fit into memory.
        gpu (bool): Whether there is one. Defaults to False.
        cpus (int, optional): Processor cores.
        start (StartWeights, optional): What ``options.pretrained`` has learnt.
        processes (int): Of a distributed training. Defaults to 1.
    """
    reasons: List[str] = []
    count = usable_images(report)
    fit = _fit_scale(report, _image_size(report, options, gpu, reasons), reasons)
    padded = tuple(32 * math.ceil(side / 32) for side in fit)
    share = batch_share(count, padded, options.batch, max_pixels, processes, reasons)
    batch = share * processes
    balance, shown = choose_balance(report, options.balance, reasons)
    repeat = epoch_repeats(shown, batch, reasons)
    epochs = options.epochs or _EPOCHS
    steps = max(1, shown * repeat // batch) * epochs
    mix = choose_mix(report, options.mix, steps, reasons)
    schedule = choose_schedule(epochs, options.patience, mix != 'none', reasons)
    lr, decay = _rate(options, batch, start, reasons)
    return FinetuneSettings(
        model=options.model, pretrained=options.pretrained, fit_scale=fit, img_scale=padded,
        flip=choose_flip(report, options.flip, reasons), batch_size=share, epochs=epochs,
        warmup_steps=min(1000, max(1, 5 * round(steps / 75))), val_interval=schedule.val_interval,
        repeat=repeat, steps=steps, lr=float(f'{lr:.2g}'), weight_decay=decay,
        ema_decay=0.99 if steps < 5000 else 0.999 if steps < 50000 else 0.9997,
        num_workers=min(8, max(1, (cpus or os.cpu_count() or 2) // 2)), seed=options.seed,
        gpu=gpu, processes=processes, mix=mix, closed=schedule.closed, balance=balance,
        multi_scale=options.multi_scale, freeze=options.freeze, head_lr=options.head_lr,
        patience=schedule.patience, grow=options.grow, track=options.track,
        reasons=reasons)


def usable_images(report: DataReport) -> int:
    """Return the number of training images that can be read.

    Raises:
        DataError: There is none.
    """
    count = len(report.splits['train'].scanned) - len(report.splits['train'].bad_images)
    if not count:
        raise DataError('none of the training images can be read; see the report of the data')
    return count


def epoch_repeats(count: int, batch: int, reasons: List[str]) -> int:
    """Return how often an epoch shows each image, so that it has enough steps."""
    repeat = max(1, math.ceil(_MIN_STEPS * batch / count))
    if repeat > 1:
        reasons.append(f'an epoch shows each image {repeat} times, so that it has at least '
                       f'{_MIN_STEPS} steps')
    return repeat


def _rate(options: FinetuneOptions, batch: int, start: Optional[StartWeights],
          reasons: List[str]) -> Tuple[float, float]:
    """Return the learning rate and the weight decay."""
    scratch = _LR * math.sqrt(batch / _BATCH)
    if not options.pretrained:
        lr, decay = scratch, _DECAY
        reasons.append('training from scratch: with converted weights (--pretrained) fewer images '
                       'are enough')
    else:
        start = start or StartWeights(options.pretrained)
        lr = start.rate(scratch, _TUNED_LR * math.sqrt(batch / _TUNED_BATCH))
        decay = _TUNED_DECAY
        reasons.append(start.describe() + ' (--lr)')
    if options.freeze:
        reasons.append(f'the stem and the first {options.freeze} stages keep their weights')
    return options.lr or lr * _LR_OF_MODEL.get(options.model, 1.0), decay


def _image_size(report: DataReport, options: FinetuneOptions, gpu: bool,
                reasons: List[str]) -> int:
    """Return the longer side of the images in training."""
    if options.imgsz:
        return options.imgsz
    part = report.splits['train']
    smallest, largest = (640, 1280) if gpu else (320, 640)
    original = 32 * math.ceil(np.median(part.sizes.max(1)) / 32)
    sides = relative_sides(part)
    needed = _MIN_SIDE / np.percentile(sides, 10) if len(sides) else smallest
    size = next((s for s in _SIZES if smallest <= s <= largest and s >= needed), largest)
    if size > original:
        size = max(64, original)
        reasons.append(f'image size {size}: that of the images themselves')
    elif size > smallest:
        reasons.append(f'image size {size} instead of {smallest}, so that small objects keep '
                       f'about {_MIN_SIDE} pixels; {(size / smallest) ** 2:.1f} times slower')
    else:
        reasons.append(f'image size {size}' + ('' if gpu else ': without a GPU; 640 finds smaller '
                                               'objects and takes four times as long (--imgsz)'))
    return size


def _fit_scale(report: DataReport, size: int, reasons: List[str]) -> Tuple[int, int]:
    """Return width and height to fit images into: their shape if they share one."""
    sizes = np.concatenate([part.sizes for part in report.splits.values()])
    aspect = sizes[:, 1] / sizes[:, 0]
    middle = float(np.median(aspect))
    if np.abs(aspect / middle - 1).max() > 0.1 or abs(middle - 1) < 0.02:
        return size, size
    fit = (size, round(size * middle)) if middle < 1 else (round(size / middle), size)
    reasons.append(f'all images have about the same shape: they are fitted to {fit[0]}x{fit[1]}, '
                   'not to a square')
    return fit


def batch_share(count: int, padded: Tuple[int, int], wanted: Optional[int],
                max_pixels: Optional[int], processes: int, reasons: List[str]) -> int:
    """Return the images of a step of each process: enough steps, and it fits into memory.

    Args:
        count (int): Training images.
        padded (tuple[int, int]): Width and height of an image.
        wanted (int, optional): Images of a step of all processes.
        max_pixels (int, optional): Pixels of a batch that fit into a process's memory.
        processes (int): Their number.
        reasons (list[str]): Gets the reason.
    """
    total = wanted or (4 if count < 500 else 8 if count < 2000 else 16)
    share = fitting = max(1, math.ceil(total / processes))
    pixels = padded[0] * padded[1]
    while max_pixels is not None and fitting > 1 and fitting * pixels > max_pixels:
        fitting //= 2
    if fitting < share:
        reasons.append(f'batch size {fitting} instead of {share}: more images do not fit into the '
                       'memory')
    elif not wanted:
        reasons.append(f'batch size {fitting}' + (': few images, so steps count' if total < 16
                                                  else ''))
    if processes > 1:
        reasons.append(f'{processes} processes with {fitting} images each make a step of '
                       f'{processes * fitting}')
    return fitting
