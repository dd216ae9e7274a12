"""Pictures of results with OpenCV alone."""
import colorsys
from typing import Any, Tuple

import numpy as np

from mmyolonas.utils.names import printable
from mmyolonas.utils.optional import require


def color_of(index: int) -> Tuple[int, int, int]:
    """Return a distinct BGR colour for an index."""
    hue = (index * 0.618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return int(blue * 255), int(green * 255), int(red * 255)


def draw_result(image: np.ndarray, result: Any, keypoint_threshold: float = 0.3) -> np.ndarray:
    """Return a copy of an image with the detections drawn on it.

    Args:
        image (ndarray): BGR ``uint8`` of shape (H, W, 3).
        result (RuntimeResult): Detections in the image's coordinates.
        keypoint_threshold (float): Key points below it are left out.

    Returns:
        ndarray: The picture, BGR ``uint8``.
    """
    cv2 = require('cv2', 'Drawing a result')
    picture = image.copy()
    thick = max(1, round(min(image.shape[:2]) / 320))
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4 * thick
    for index in reversed(range(len(result))):  # the best on top
        label = int(result.labels[index])
        color = color_of(label if result.keypoints is None else index)
        x1, y1, x2, y2 = (int(round(float(v))) for v in result.boxes[index])
        cv2.rectangle(picture, (x1, y1), (x2, y2), color, thick)
        text = printable(f'{result.names[index]} {result.scores[index]:.2f}')
        (width, height), base = cv2.getTextSize(text, font, size, 1)
        top = max(y1 - height - base, 0)
        cv2.rectangle(picture, (x1, top), (x1 + width, top + height + base), color, -1)
        cv2.putText(picture, text, (x1, top + height), font, size, (0, 0, 0), 1,
                    cv2.LINE_AA)
        if result.keypoints is None:
            continue
        points = [(int(round(float(x))), int(round(float(y)))) for x, y in result.keypoints[index]]
        seen = result.keypoint_scores[index] > keypoint_threshold
        for start, end in result.skeleton:
            if seen[start] and seen[end]:
                cv2.line(picture, points[start], points[end], color, thick, cv2.LINE_AA)
        for point, visible in zip(points, seen):
            if visible:
                cv2.circle(picture, point, 2 * thick, color, -1, cv2.LINE_AA)
    return picture


def save_picture(path: str, picture: np.ndarray) -> None:
    """Write a picture (BGR), atomically.

    Raises:
        UserError: The folder cannot be written to, or OpenCV does not know the suffix.
    """
    from mmyolonas.utils.files import write_image
    write_image(path, picture)
