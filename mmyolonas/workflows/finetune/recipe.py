"""What of the data decides how images are mixed, classes balanced and a training ended."""
import math
from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_checks import shorten
from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.names import printable

_RARE = 0.1  # share of the images that a class should be in
_FEW_OF_CLASS = 5  # images of a class; so few are not worth repeating
_SHORT = 50  # epochs up to which a training is too short to be ended early
_CLOSED = 0.12  # of the epochs, at the end, without mixed images


@dataclass
class Schedule:
    """When a training validates, closes its augmentation and gives up.

    Attributes:
        val_interval (int): Epochs between validations.
        patience (int): Validations without a gain after which it ends; 0 for never.
        closed (int): Epochs at the end without mixed images.
    """
    val_interval: int
    patience: int
    closed: int


def choose_schedule(epochs: int, patience: Optional[int], mixing: bool,
                    reasons: List[str]) -> Schedule:
    """Return when to validate and to end.

    Args:
        epochs (int): Length of the training.
        patience (int, optional): Epochs to wait for a gain; 0 for ever. None: a third of the
            training, if it is long.
        mixing (bool): Whether images are mixed.
        reasons (list[str]): Gets sentences.
    """
    interval = max(1, epochs // 6)
    if patience is None:
        patience = 0 if epochs <= _SHORT else epochs // 3
    if patience:
        interval = max(1, min(interval, patience // 3))
        reasons.append(f'the training ends early after {patience} epochs without a gain '
                       '(--patience)')
    closed = max(1, round(_CLOSED * epochs)) if mixing and epochs > 1 else 0
    return Schedule(interval, math.ceil(patience / interval) if patience else 0, closed)


def choose_mix(report: DataReport, wanted: str, steps: int, reasons: List[str]) -> str:
    """Return how images are mixed: 'none', 'mosaic', 'mixup' or 'both'.

    Args:
        report (DataReport): What was seen of the data.
        wanted (str): One of these, or 'auto'.
        steps (int): Of the whole training.
        reasons (list[str]): Gets the reason, a sentence.
    """
    part = report.splits['train']
    per_image = len(part.table.boxes) / max(1, len(part.scanned))
    chosen = wanted
    if wanted == 'auto':
        chosen, why = _mix_by_data(per_image, len(part.scanned), steps)
        reasons.append(f'{_MIX_WORDS[chosen]}: {why} (--mix)')
    return chosen


_MIX_WORDS = dict(none='images are not mixed', mosaic='half of the images are mosaics of four',
                  mixup='half of the images are blended with another',
                  both='images are mosaics of four or blended with another')


def _mix_by_data(per_image: float, images: int, steps: int) -> Tuple[str, str]:
    if per_image >= 5:
        return 'none', f'they hold {per_image:.0f} objects each'
    if steps < 20000:
        return 'none', (f'{steps} steps are few, and a network that starts with them learns more '
                        'from whole images')
    return 'mosaic', f'{per_image:.1f} objects in an image are few, and the training is long'


def choose_balance(report: DataReport, wanted: str, reasons: List[str]) -> Tuple[float, int]:
    """Return the share of images that classes are brought towards, and an epoch's images.

    An image is shown ``sqrt(share / s)`` times (rounded up), where s is the share of the
    images with its rarest class (LVIS, arXiv:1908.03195).

    Args:
        report (DataReport): What was seen of the data.
        wanted (str): 'auto', 'on' or 'off'.
        reasons (list[str]): Gets the reason, a sentence.

    Returns:
        tuple[float, int]: The share, 0 for no balancing; images of an epoch.
    """
    part = report.splits['train']
    usable = np.ones(len(part.scanned), bool)
    usable[list(part.bad_images)] = False
    count = int(usable.sum())
    pairs = np.unique(np.column_stack([part.table.images, part.table.labels]), axis=0)
    pairs = pairs[usable[pairs[:, 0]]]
    frequency = np.bincount(pairs[:, 1], minlength=len(report.classes))
    rare = [label for label in np.flatnonzero(frequency)
            if _FEW_OF_CLASS <= frequency[label] < _RARE * count
            and frequency.max() > 4 * frequency[label]]
    if wanted == 'off' or (wanted == 'auto' and not rare):
        return 0.0, count
    factors = np.sqrt(_RARE * count / np.maximum(frequency, 1)).clip(1)
    times = np.ones(len(usable))
    np.maximum.at(times, pairs[:, 0], factors[pairs[:, 1]])
    epoch = int(np.ceil(times[usable] - 1e-9).sum())
    names = [f'{printable(report.classes[label])} (in {frequency[label]} images)' for label in rare]
    reasons.append(f'images of rare classes are shown more often, {epoch} images an epoch instead '
                   f'of {count}' + (f': {shorten(names)}' if names else '') + ' (--balance)')
    return _RARE, epoch

