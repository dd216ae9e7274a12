"""What the weights that a training starts from have learnt, and the rate that suits them."""
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from mmyolonas.utils.checkpoint_match import meta_of, state_of
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.inert import parse_config_text

#: Images (counted each time they were shown) up to which weights still learn at the rate of
#: a training from scratch, and from which they are kept with a low one. Below: 10,000 drawn
#: images gave 0.493 AP on blood cells at the high rate and 0.427 at the low one. Above: a
#: training on COCO shows 35 million.
FEW_SHOWN, MANY_SHOWN = 2e5, 2e6


@dataclass
class StartWeights:
    """What a checkpoint says of its own training.

    Attributes:
        path (str): The file.
        shown (float, optional): Images that it was shown, each time counted; None if the
            file does not say.
        classes (int, optional): Its classes.
    """
    path: str
    shown: Optional[float] = None
    classes: Optional[int] = None

    @property
    def experience(self) -> float:
        """float: 0 for weights that have seen little, 1 for such as COCO's; 1 if unknown."""
        if self.shown is None:
            return 1.0
        place = math.log(max(self.shown, 1) / FEW_SHOWN) / math.log(MANY_SHOWN / FEW_SHOWN)
        return min(1.0, max(0.0, place))

    def rate(self, scratch: float, tuned: float) -> float:
        """Return the learning rate between that from scratch and that for COCO's weights."""
        return scratch * (tuned / scratch) ** self.experience

    def describe(self) -> str:
        """Return what is known, for a sentence."""
        if self.shown is None:
            return 'the file does not say what it was trained on, so it is taken for COCO'
        kind = ('few enough to go on at the rate of a training from scratch'
                if self.experience == 0 else 'so many that they are kept with a low rate'
                if self.experience == 1 else 'between a start and COCO, and so is the rate')
        return f'the weights were shown {_rounded(self.shown)} images, {kind}'


def read_start(path: str) -> StartWeights:
    """Return what a checkpoint says of itself; all of the file is looked at.

    Raises:
        UserError: The file is missing, damaged, or no checkpoint.
    """
    checkpoint = read_checkpoint(path)
    state_of(checkpoint, path)
    meta = meta_of(checkpoint)
    classes = (meta.get('dataset_meta') or {}).get('classes')
    count = len(classes) if isinstance(classes, (list, tuple)) else None
    steps, batch = meta.get('iter'), _batch_size(meta.get('cfg'))
    known = type(steps) is int and steps > 0 and batch
    return StartWeights(path, float(steps * batch) if known else None, count)


def _batch_size(text: Any) -> Optional[int]:
    """Return the images of a step of the config that a checkpoint carries, as data."""
    if not isinstance(text, str):
        return None
    try:
        loader = parse_config_text(text, 'the checkpoint').get('train_dataloader')
    except UserError:  # it was written by something else
        return None
    size = loader.get('batch_size') if isinstance(loader, Mapping) else None
    if size is None and isinstance(loader, Mapping):
        sampler = loader.get('batch_sampler')
        size = sampler.get('batch_size') if isinstance(sampler, Mapping) else None
    return size if type(size) is int and size > 0 else None


def _rounded(count: float) -> str:
    return f'{count / 1e6:.1f} million' if count >= 1e6 else f'{float(f"{count:.2g}"):,.0f}'
