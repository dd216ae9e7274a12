"""Whether a converted file finds what ONNX Runtime finds."""
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np

from mmyolonas.utils.boxes import pairwise_iou

#: What "the same" means: class, overlap, score.
IOU, SCORE = 0.99, 0.01
#: What "nearly" means.
NEAR_IOU, NEAR_SCORE = 0.9, 0.1
#: Boxes of a lower score are not counted.
LEAST = 0.25


@dataclass
class Parity:
    """One image in two runtimes.

    Args:
        image (str): Its name.
        differences (dict[str, float]): Largest absolute difference of each output.
        right (int): Boxes of the reference that the other has as well.
        wanted (int): Boxes of the reference.
        found (int): Boxes of the other.
        near (int): Boxes of the reference that the other has nearly: what to expect of 8 bit.
    """
    image: str
    differences: Dict[str, float]
    right: int
    wanted: int
    found: int
    near: int = 0

    @property
    def same(self) -> bool:
        """bool: Whether both have found the same."""
        return self.right == self.wanted == self.found


def same_boxes(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray,
               wanted: Sequence[np.ndarray], iou: float = IOU, score: float = SCORE) -> int:
    """Return how many of the wanted boxes are there, each for one of the found.

    Args:
        boxes (ndarray): (N, 4) xyxy, found.
        scores (ndarray): (N,).
        labels (ndarray): (N,).
        wanted (Sequence[ndarray]): The same three of the reference.
        iou (float): Overlap that must be exceeded. Defaults to 0.99.
        score (float): Largest difference of the scores. Defaults to 0.01.

    Returns:
        int: Pairs of the same class, overlap and score, best overlap first.
    """
    others, other_scores, other_labels = (np.asarray(part) for part in wanted)
    boxes, scores, labels = np.asarray(boxes), np.asarray(scores), np.asarray(labels)
    if not len(boxes) or not len(others):
        return 0
    overlap = pairwise_iou(boxes, others)
    fits = (overlap > iou) & (labels[:, None] == other_labels[None]) & (
        np.abs(scores[:, None] - other_scores[None]) <= score)
    overlap = np.where(fits, overlap, 0)
    count = 0
    while overlap.max(initial=0) > 0:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[row], overlap[:, column] = 0, 0
        count += 1
    return count


def lines(parities: List[Parity], name: str) -> List[str]:
    """Return what to print.

    Args:
        parities (list[Parity]): One for each image.
        name (str): Of the runtime.
    """
    text = [f'largest difference between {name} and ONNX Runtime on {len(parities)} image(s), '
            f'{output}: {max(item.differences[output] for item in parities):.2g}'
            for output in parities[0].differences]
    right, wanted, found = (sum(getattr(item, key) for item in parities)
                            for key in ('right', 'wanted', 'found'))
    text.append(f'{name}: {right} of {wanted} boxes above {LEAST} are the same (class, '
                f'IoU > {IOU}, score within {SCORE}), {found} found')
    if right < wanted:
        text.append(f'{name}: {sum(item.near for item in parities)} of {wanted} nearly (IoU > '
                    f'{NEAR_IOU}, score within {NEAR_SCORE})')
    return text
