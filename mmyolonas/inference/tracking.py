"""Numbers that follow objects through a video: Roboflow's ``trackers`` and ``supervision``."""
from typing import Any, Sequence

import numpy as np

from mmyolonas.inference.prediction import Prediction
from mmyolonas.utils.optional import require

TRACKERS = dict(bytetrack='ByteTrackTracker', sort='SORTTracker', ocsort='OCSORTTracker',
                botsort='BoTSORTTracker')
#: Scores of dense detectors are lower than those the trackers' defaults are made for.
ACTIVATION, CONFIDENT = 0.4, 0.4


class Tracker:
    """Give the detections of successive frames numbers, and draw them.

    Args:
        name (str): One of :data:`TRACKERS`. Defaults to ``'bytetrack'``.
        frame_rate (float): Frames a second. Defaults to 25.

    Raises:
        ImportError: trackers or supervision is not installed.
    """

    def __init__(self, name: str = 'bytetrack', frame_rate: float = 25.) -> None:
        trackers = require('trackers', 'Tracking')
        supervision = require('supervision', 'Tracking')
        options = dict(frame_rate=frame_rate)
        if name != 'ocsort':
            options['track_activation_threshold'] = ACTIVATION
        if name != 'sort':
            options['high_conf_det_threshold'] = CONFIDENT
        self.needs_frame = name == 'botsort'  # it estimates the camera's motion
        self.tracker = getattr(trackers, TRACKERS[name])(**options)
        by_number = dict(color_lookup=supervision.ColorLookup.TRACK)
        self.annotators = (supervision.BoxAnnotator(**by_number),
                           supervision.TraceAnnotator(**by_number))
        self.labels = supervision.LabelAnnotator(**by_number)

    def update(self, prediction: Prediction, image: np.ndarray) -> Prediction:
        """Return the detections of the next frame with their numbers.

        Args:
            prediction (Prediction): What was found in it.
            image (ndarray): (H, W, 3) BGR, uint8.

        Returns:
            Prediction: With ``track_ids``; -1 for what is no track yet.
        """
        detections = prediction.to_supervision()
        detections.data['row'] = np.arange(len(prediction))
        tracked = self.tracker.update(detections, image) if self.needs_frame else (
            self.tracker.update(detections))
        ids = np.full(len(prediction), -1, np.int64)
        if len(tracked) and tracked.tracker_id is not None:
            ids[np.asarray(tracked.data['row'], int)] = tracked.tracker_id
        prediction.track_ids = ids
        return prediction

    def draw(self, image: np.ndarray, prediction: Prediction,
             classes: Sequence[str] = ()) -> np.ndarray:
        """Return a copy of the frame with boxes, numbers and the way of each track.

        Args:
            image (ndarray): (H, W, 3) BGR, uint8.
            prediction (Prediction): From :meth:`update`.
            classes (Sequence[str]): Class names.

        Returns:
            ndarray: (H, W, 3) BGR, uint8.
        """
        known = prediction.select(np.flatnonzero(prediction.track_ids >= 0))
        detections: Any = known.to_supervision(classes)
        picture = image.copy()
        for annotator in self.annotators:
            picture = annotator.annotate(picture, detections)
        texts = [f'#{number} {name} {score:.2f}' for number, name, score in zip(
            known.track_ids, detections.data['class_name'], known.scores)]
        return self.labels.annotate(picture, detections, texts)
