"""Whether the objects of a data set have a top and a bottom."""
from dataclasses import dataclass
from typing import Dict, List, Optional

import cv2
import numpy as np

from mmyolonas.datasets.inspection.records import SplitReport
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.images import read_image
from mmyolonas.utils.progress import track

_OBJECTS = 400  # more tell nothing new
_SIDE = 16
_MIN_PIXELS = 8
_FLAT = 8.0  # levels of 255: the noise of a plain crop is no shape


@dataclass
class Uprightness:
    """How much objects differ from their mirror images, all in the same way.

    A value is the squared length of the sum of the differences (crop minus its mirror
    image, each of length 1) over their number: about 1 if an object and its mirror
    image are equally likely, up to the number of objects if all are alike.

    Attributes:
        objects (int): Objects that were compared.
        vertical (float): Turned upside down.
        sideways (float): Mirrored left to right, which for most data means nothing;
            what a lamp or a fixed camera adds is in both.
    """
    objects: int
    vertical: float
    sideways: float

    @property
    def ratio(self) -> float:
        """float: How much more the height means than the width."""
        return self.vertical / max(self.sideways, 1.0)


def uprightness(part: SplitReport, seed: int = 0) -> Optional[Uprightness]:
    """Compare the objects of a part with their mirror images.

    Args:
        part (SplitReport): The part.
        seed (int): Which objects are looked at, if there are many.

    Returns:
        Uprightness, optional: None without an object of a few pixels.
    """
    crops = _crops(part, seed)
    if not crops:
        return None
    thumbnails = np.stack([_normalised(crop) for crop in crops])
    return Uprightness(len(crops), _asymmetry(thumbnails, 1), _asymmetry(thumbnails, 2))


def _crops(part: SplitReport, seed: int) -> List[np.ndarray]:
    """Return parts of images, spread over the set; each image is read once."""
    boxes = part.table.boxes.round().astype(int)
    large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= _MIN_PIXELS
    usable = np.array([image.problem is None for image in part.scanned], bool)
    rows = np.flatnonzero(large & usable[part.table.images] & ~part.table.crowd)
    rows = np.random.default_rng(seed).permutation(rows)[:_OBJECTS]
    of_image: Dict[int, List[int]] = {}
    for row in rows:
        of_image.setdefault(int(part.table.images[row]), []).append(int(row))
    crops = []
    for index, own in track(of_image.items(), 'looking at objects', len(of_image)):
        try:
            image = read_image(part.scanned[index].path)
        except UserError:
            continue
        for x1, y1, x2, y2 in boxes[own]:
            crop = image[max(0, y1):y2, max(0, x1):x2]
            if min(crop.shape[:2]) >= _MIN_PIXELS:  # the file may be smaller than it says
                crops.append(cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    return crops


def _normalised(crop: np.ndarray) -> np.ndarray:
    values = crop.astype(np.float64)
    return (values - values.mean((0, 1))) / (values.std() + _FLAT)


def _asymmetry(crops: np.ndarray, axis: int) -> float:
    """Return how far (N, H, W, C) crops differ from their mirror images alike."""
    difference = (crops - np.flip(crops, axis)).reshape(len(crops), -1)
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    return float((np.linalg.norm((difference / np.maximum(length, 1e-9)).sum(0)) ** 2)
                 / len(crops))
