"""A teacher that sees smaller images: what it says of each prior of the student."""
from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .outputs import TeacherOutputs


def smaller_size(size: Sequence[int], scale: float, multiple: int) -> Tuple[int, int]:
    """Return (H, W) times ``scale``, rounded to multiples of ``multiple``, at least one."""
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in size)
    return height, width


def enlarge(outputs: TeacherOutputs, small: Sequence[int], size: Sequence[int],
            strides: Sequence[int]) -> TeacherOutputs:
    """Return predictions for small images as predictions for the student's priors.

    Each prior gets what the teacher's cell of the same level says in which it lies. The
    boxes and key points are in pixels of the large image again; the distributions of the
    box sides, which count in cells, do not compare any more.

    Args:
        outputs (TeacherOutputs): For images of ``small``.
        small (Sequence[int]): (H, W) that the teacher has seen, in pixels.
        size (Sequence[int]): (H, W) that the student sees, in pixels.
        strides (Sequence[int]): Of the levels.
    """
    index = _cells(small, size, strides, outputs.scores.device)
    height, width = size[0] / small[0], size[1] / small[1]
    points = outputs.boxes.new_tensor([width, height])
    keypoints, confidences = outputs.keypoints, outputs.keypoint_scores
    return TeacherOutputs(
        scores=outputs.scores[:, index],
        boxes=outputs.boxes[:, index] * points.repeat(2),
        keypoints=None if keypoints is None else keypoints[:, index] * points,
        keypoint_scores=None if confidences is None else confidences[:, index],
        feats=[F.interpolate(x, [side // stride for side in size], mode='bilinear')
               for x, stride in zip(outputs.feats, strides)])


def _cells(small: Sequence[int], size: Sequence[int], strides: Sequence[int],
           device: torch.device) -> Tensor:
    """Return for each of the student's priors the number of the teacher's, of shape (L,)."""
    found: List[Tensor] = []
    first = 0
    for stride in strides:
        rows, columns = (
            ((torch.arange(side // stride, device=device) + 0.5) * (other / side)).long()
            for side, other in zip(size, small))
        found.append((first + rows[:, None] * (small[1] // stride) + columns).flatten())
        first += (small[0] // stride) * (small[1] // stride)
    return torch.cat(found)
