"""What distillation compares: the dense outputs of a student and of a teacher."""
from dataclasses import dataclass, field
from typing import List, Optional, Sequence

from torch import Tensor


@dataclass
class StudentOutputs:
    """Outputs of a YOLO-NAS head in training, per level, with gradient.

    Attributes:
        cls_scores (list[Tensor]): Logits (B, C, H, W); C is 1 for poses.
        bbox_dists (list[Tensor]): Logits (B, 4 * (reg_max + 1), H, W), side-major.
        kpt_offsets (list[Tensor]): (B, 2 * K, H, W) in units of the stride; empty
            for detection.
        kpt_scores (list[Tensor]): Logits (B, K, H, W); empty for detection.
        feats (Sequence[Tensor]): Feature maps (B, C, H, W) in front of the head;
            empty where they are not wanted.
    """
    cls_scores: List[Tensor]
    bbox_dists: List[Tensor]
    kpt_offsets: List[Tensor] = field(default_factory=list)
    kpt_scores: List[Tensor] = field(default_factory=list)
    feats: Sequence[Tensor] = ()


@dataclass
class TeacherOutputs:
    """Predictions of a teacher for the priors of the student, without gradient.

    Attributes:
        scores (Tensor): Shape (B, L, C) within [0, 1].
        boxes (Tensor): Shape (B, L, 4), xyxy in pixels of the network input.
        bbox_dists (list[Tensor], optional): Logits (B, 4 * (reg_max + 1), H, W)
            per level; None if they cannot be compared with the student's.
        keypoints (Tensor, optional): Shape (B, L, K, 2) in pixels.
        keypoint_scores (Tensor, optional): Shape (B, L, K) within [0, 1].
        feats (Sequence[Tensor]): Feature maps in front of the head.
    """
    scores: Tensor
    boxes: Tensor
    bbox_dists: Optional[List[Tensor]] = None
    keypoints: Optional[Tensor] = None
    keypoint_scores: Optional[Tensor] = None
    feats: Sequence[Tensor] = ()
