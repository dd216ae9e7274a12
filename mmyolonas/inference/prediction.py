"""What a model found in one image."""
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import numpy as np


@dataclass
class Prediction:
    """Detections of one image, best first.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the original image.
        scores: (N,) float32 within [0, 1].
        labels: (N,) int64, class numbers.
        keypoints: (N, K, 2) float32 in pixels, for pose models.
        keypoint_scores: (N, K) float32 within [0, 1], for pose models.
        track_ids: (N,) int64, numbers that follow an object through a video; -1 for none.
    """
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    keypoints: Optional[np.ndarray] = None
    keypoint_scores: Optional[np.ndarray] = None
    track_ids: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: np.ndarray) -> 'Prediction':
        """Return the detections at indices, or where a mask is True.

        Args:
            keep (ndarray): (M,) indices, or a mask of (N,).

        Returns:
            Prediction: Those detections, in the order of ``keep``.
        """
        return Prediction(*(None if value is None else value[keep] for value in (
            self.boxes, self.scores, self.labels, self.keypoints, self.keypoint_scores,
            self.track_ids)))

    def of_classes(self, labels: Optional[Sequence[int]]) -> 'Prediction':
        """Return the detections of some classes; None for all.

        Args:
            labels (Sequence[int], optional): Numbers of the classes.

        Returns:
            Prediction: Their detections.
        """
        return self if labels is None else self.select(np.isin(self.labels, list(labels)))

    def records(self, classes: Sequence[str] = ()) -> List[Dict[str, Any]]:
        """Return one dictionary of plain values for each detection.

        Args:
            classes (Sequence[str]): Class names.

        Returns:
            list[dict]: ``label``, ``class``, ``score``, ``box``, ``track`` and key points if
            there are any; boxes and points in pixels of the image.
        """
        records = []
        for index in range(len(self)):
            label = int(self.labels[index])
            record: Dict[str, Any] = dict(label=label)
            if label < len(classes):
                record['class'] = classes[label]
            record['score'] = round(float(self.scores[index]), 5)
            record['box'] = [round(float(value), 2) for value in self.boxes[index]]
            if self.track_ids is not None and self.track_ids[index] >= 0:
                record['track'] = int(self.track_ids[index])
            if self.keypoints is not None:
                record['keypoints'] = [
                    [round(float(x), 2), round(float(y), 2), round(float(score), 4)]
                    for (x, y), score in zip(self.keypoints[index], self.keypoint_scores[index])]
            records.append(record)
        return records

    def to_supervision(self, classes: Sequence[str] = ()) -> Any:
        """Return ``supervision.Detections``.

        Args:
            classes (Sequence[str]): Class names.

        Returns:
            supervision.Detections: See :func:`mmyolonas.runtime.supervision_io.as_detections`.

        Raises:
            ImportError: supervision is not installed.
        """
        from mmyolonas.runtime.supervision_io import as_detections
        return as_detections(self.boxes, self.scores, self.labels, classes, self.keypoints,
                             self.keypoint_scores, self.track_ids)
