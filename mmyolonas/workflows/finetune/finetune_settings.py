"""How to train on a data set, from what was seen of it and of the machine."""
import math
import os
import re
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy as np

from mmyolonas.datasets.inspection.data_warnings import relative_sides
from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.data_error import DataError

# The recipe of configs/yolonas/yolonas_s_bccd.py, which the rules below extend.
_BATCH, _LR, _DECAY, _EPOCHS = 4, 8e-4, 1e-2, 30
# From trained weights: the RF100 recipe of SuperGradients, batch 16.
_TUNED_BATCH, _TUNED_LR, _TUNED_DECAY = 16, 5e-4, 1e-4
_LR_OF_MODEL = {'s': 1.0, 'm': 0.8, 'l': 0.7}
_MIN_STEPS = 50  # of an epoch: images of tiny sets are repeated
_SIZES = (320, 416, 512, 640, 800, 960, 1280)
_MIN_SIDE = 8  # pixels that all but a tenth of the objects should have
_FEW_BOXES = 40
# Standard deviations that the mean height of objects is off the middle. COCO: 0.23 and more,
# blood cells: 0.01, a mouse from above: 0.08.
_SHIFT = 0.12


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
    """
    model: str = 's'
    pretrained: Optional[str] = None
    epochs: Optional[int] = None
    imgsz: Optional[int] = None
    batch: Optional[int] = None
    flip: str = 'auto'
    lr: Optional[float] = None
    seed: int = 0


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
    reasons: List[str] = field(default_factory=list)


def choose_settings(report: DataReport, options: FinetuneOptions, max_pixels: Optional[int] = None,
                    gpu: bool = False, cpus: Optional[int] = None) -> FinetuneSettings:
    """Choose the settings of a training.

    Args:
        report (DataReport): What was seen of the data.
        options (FinetuneOptions): What the user wants.
        max_pixels (int, optional): Pixels of a batch that fit into memory.
        gpu (bool): Whether there is one. Defaults to False.
        cpus (int, optional): Processor cores.
    """
    reasons: List[str] = []
    count = len(report.splits['train'].scanned) - len(report.splits['train'].bad_images)
    if not count:
        raise DataError('none of the training images can be read; see the report of the data')
    fit = _fit_scale(report, _image_size(report, options, gpu, reasons), reasons)
    padded = tuple(32 * math.ceil(side / 32) for side in fit)
    batch = _batch_size(count, padded, options, max_pixels, reasons)
    repeat = max(1, math.ceil(_MIN_STEPS * batch / count))
    if repeat > 1:
        reasons.append(f'an epoch shows each image {repeat} times, so that it has at least '
                       f'{_MIN_STEPS} steps')
    epochs = options.epochs or _EPOCHS
    steps = max(1, count * repeat // batch) * epochs
    if options.pretrained:
        lr, decay = _TUNED_LR * math.sqrt(batch / _TUNED_BATCH), _TUNED_DECAY
    else:
        lr, decay = _LR * math.sqrt(batch / _BATCH), _DECAY
        reasons.append('training from scratch: with converted weights (--pretrained) fewer images '
                       'are enough')
    lr = options.lr or lr * _LR_OF_MODEL.get(options.model, 1.0)
    return FinetuneSettings(
        model=options.model, pretrained=options.pretrained, fit_scale=fit, img_scale=padded,
        flip=_flip(report, options, reasons), batch_size=batch, epochs=epochs,
        warmup_steps=min(1000, max(1, 5 * round(steps / 75))), val_interval=max(1, epochs // 6),
        repeat=repeat, steps=steps, lr=float(f'{lr:.2g}'), weight_decay=decay,
        ema_decay=0.99 if steps < 5000 else 0.999 if steps < 50000 else 0.9997,
        num_workers=min(8, max(1, (cpus or os.cpu_count() or 2) // 2)), seed=options.seed,
        gpu=gpu, reasons=reasons)


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


def _batch_size(count: int, padded: Tuple[int, int], options: FinetuneOptions,
                max_pixels: Optional[int], reasons: List[str]) -> int:
    """Return a batch size that leaves enough steps and fits into memory."""
    wanted = options.batch or (4 if count < 500 else 8 if count < 2000 else 16)
    fitting = wanted
    pixels = padded[0] * padded[1]
    while max_pixels is not None and fitting > 1 and fitting * pixels > max_pixels:
        fitting //= 2
    if fitting < wanted:
        reasons.append(f'batch size {fitting} instead of {wanted}: more images do not fit into the '
                       'memory')
    elif not options.batch:
        reasons.append(f'batch size {fitting}' + (': few images, so steps count' if fitting < 16
                                                  else ''))
    return fitting


def _flip(report: DataReport, options: FinetuneOptions, reasons: List[str]) -> str:
    """Return how images may be mirrored."""
    if options.flip != 'auto':
        return options.flip
    words = {word for name in report.classes for word in re.findall(r'[a-z]+', name.lower())}
    if words & {'left', 'right'} or all(len(name) == 1 for name in report.classes):
        reasons.append('images are not mirrored: the class names are signs or speak of left and '
                       'right (--flip)')
        return 'none'
    if _keep_their_height(report):
        reasons.append('images are mirrored left to right alone: objects keep to some height in '
                       'them, so they have a top and a bottom (--flip)')
        return 'horizontal'
    reasons.append('images are mirrored both ways: objects are anywhere between top and bottom '
                   '(--flip)')
    return 'both'


def _keep_their_height(report: DataReport) -> bool:
    """Whether objects are rather high or rather low in the images, beyond chance.

    Brightness tells less: apparatus lights its images from one side, too.
    """
    part = report.splits['train']
    boxes, sizes = part.table.boxes, part.sizes[part.table.images]
    if len(boxes) < _FEW_BOXES:
        return True  # too few to tell; the harmless choice
    height = boxes[:, 1::2].mean(1) / sizes[:, 1] - 0.5
    shift = abs(height.mean()) / max(height.std(), 1e-6)
    return bool(shift > _SHIFT + 1 / math.sqrt(len(height)))
