"""Results as ``supervision`` has them; imported only when it is asked for."""
from typing import Any, Dict, Optional, Sequence

import numpy as np

from mmyolonas.utils.optional import require


def as_detections(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray,
                  class_names: Sequence[str] = (), keypoints: Optional[np.ndarray] = None,
                  keypoint_scores: Optional[np.ndarray] = None,
                  track_ids: Optional[np.ndarray] = None) -> Any:
    """Return ``supervision.Detections``.

    Args:
        boxes (ndarray): (N, 4) xyxy in pixels of the image.
        scores (ndarray): (N,).
        labels (ndarray): (N,).
        class_names (Sequence[str]): Names in label order.
        keypoints (ndarray, optional): (N, K, 2) in pixels; go to ``data['keypoints']``.
        keypoint_scores (ndarray, optional): (N, K); go to ``data['keypoint_scores']``.
        track_ids (ndarray, optional): (N,).

    Returns:
        supervision.Detections: With ``data['class_name']``, which its annotators and
        sinks write.

    Raises:
        ImportError: supervision is not installed.
    """
    supervision = require('supervision', 'Results for supervision')
    names = [class_names[label] if label < len(class_names) else str(label) for label in labels]
    data: Dict[str, Any] = dict(class_name=np.array(names, dtype=str))
    if keypoints is not None:
        data.update(keypoints=keypoints, keypoint_scores=keypoint_scores)
    return supervision.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray(scores, np.float32), class_id=np.asarray(labels, int),
        tracker_id=None if track_ids is None else np.asarray(track_ids, int), data=data)
