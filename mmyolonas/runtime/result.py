"""What was found in one image, without torch."""
import os
from dataclasses import dataclass, field, replace
from typing import Any, List, Optional, Tuple, Union

import numpy as np

from mmyolonas.runtime.numpy_ops import read_image

Image = Union[str, os.PathLike, np.ndarray]


@dataclass
class RuntimeResult:
    """What was found in one image, best first.

    Args:
        boxes (ndarray): (N, 4) float32, x1, y1, x2, y2 in pixels of the image.
        scores (ndarray): (N,) float32 within [0, 1].
        labels (ndarray): (N,) int64, indices into ``class_names``.
        class_names (list[str]): Names in label order.
        image_size (tuple[int, int]): Width and height of the image.
        keypoints (ndarray, optional): Pose: (N, K, 2) float32 in pixels of the
            image.
        keypoint_scores (ndarray, optional): Pose: (N, K) float32 within [0, 1].
        skeleton (list): Pose: index pairs to connect.
    """
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: List[str]
    image_size: Tuple[int, int]
    keypoints: Optional[np.ndarray] = None
    keypoint_scores: Optional[np.ndarray] = None
    skeleton: List[List[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> List[str]:
        """list[str]: Class name of every detection."""
        return [self.class_names[label] if label < len(self.class_names) else str(label)
                for label in self.labels]

    def above(self, score: float) -> 'RuntimeResult':
        """Return the detections with a higher score.

        Args:
            score (float): Between 0 and 1.

        Returns:
            RuntimeResult: What is above it.
        """
        keep = self.scores > score
        names = ('boxes', 'scores', 'labels', 'keypoints', 'keypoint_scores')
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{name: value[keep] for name, value in values.items()
                                if value is not None})

    def draw(self, image: Image, keypoint_threshold: float = 0.3) -> np.ndarray:
        """Return a copy of the image (BGR) with boxes, names and skeletons.

        Args:
            image (str | ndarray): The image the result belongs to.
            keypoint_threshold (float): Key points below it are not drawn.

        Returns:
            ndarray: (H, W, 3) BGR, uint8.
        """
        from mmyolonas.runtime.drawing import draw_result
        return draw_result(read_image(image), self, keypoint_threshold)

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``, for its annotators, zones, sinks and trackers.

        Returns:
            supervision.Detections: See :func:`mmyolonas.runtime.supervision_io.as_detections`.

        Raises:
            ImportError: supervision is not installed.
        """
        from mmyolonas.runtime.supervision_io import as_detections
        return as_detections(self.boxes, self.scores, self.labels, self.class_names,
                             self.keypoints, self.keypoint_scores)
