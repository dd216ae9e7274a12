"""Drawing boxes and skeletons with OpenCV; images are BGR, uint8, changed in place."""
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from mmyolonas.utils.names import printable
from mmyolonas.visualization.palette import Colour, make_palette


def line_width(image: np.ndarray) -> int:
    """Return a line width in pixels that suits the size of an image."""
    return max(1, round(max(image.shape[:2]) / 400))


def draw_text(image: np.ndarray, text: str, corner: Tuple[float, float], colour: Colour) -> None:
    """Write text on a filled background, its bottom left at ``corner`` (x, y)."""
    text = printable(text)
    scale = max(0.35, max(image.shape[:2]) / 1600)
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), base = cv2.getTextSize(text, font, scale, 1)
    x = int(np.clip(corner[0], 0, max(0, image.shape[1] - width)))
    y = int(np.clip(corner[1], height + base, image.shape[0]))
    cv2.rectangle(image, (x, y - height - base), (x + width, y), colour, -1)
    # black on light, white on dark colours (BGR luma)
    light = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 130
    ink = (0, 0, 0) if light else (255, 255, 255)
    cv2.putText(image, text, (x, y - base // 2 - 1), font, scale, ink, 1, cv2.LINE_AA)


def draw_boxes(image: np.ndarray,
               boxes: np.ndarray,
               labels: Sequence[int],
               scores: Optional[Sequence[float]] = None,
               classes: Optional[Sequence[str]] = None,
               palette: Optional[Sequence[Colour]] = None) -> np.ndarray:
    """Draw boxes with their class and score.

    Args:
        image (ndarray): (H, W, 3) BGR, uint8; changed in place.
        boxes (ndarray): (N, 4) xyxy in pixels.
        labels (Sequence[int]): N class numbers.
        scores (Sequence[float], optional): N scores within [0, 1].
        classes (Sequence[str], optional): Class names.
        palette (Sequence, optional): BGR colour of each class.

    Returns:
        ndarray: The image.
    """
    palette = palette or make_palette(max([int(label) for label in labels], default=0) + 1)
    width = line_width(image)
    corners = np.asarray(boxes, np.float64).reshape(-1, 4).round().astype(int).tolist()
    for index, (x1, y1, x2, y2) in enumerate(corners):
        label = int(labels[index])
        colour = palette[label % len(palette)]
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, width)
        known = classes is not None and label < len(classes)
        text = classes[label] if known else f'class {label}'
        if scores is not None:
            text += f' {scores[index]:.2f}'
        draw_text(image, text, (x1, y1), colour)
    return image


def draw_poses(image: np.ndarray,
               keypoints: np.ndarray,
               visible: np.ndarray,
               links: Sequence[Tuple[int, int]] = (),
               keypoint_colours: Optional[Sequence[Colour]] = None,
               link_colours: Optional[Sequence[Colour]] = None) -> np.ndarray:
    """Draw skeletons.

    Args:
        image (ndarray): (H, W, 3) BGR, uint8; changed in place.
        keypoints (ndarray): (N, K, 2) pixels.
        visible (ndarray): (N, K), True for key points to draw.
        links (Sequence): Pairs of key points that a line joins.
        keypoint_colours (Sequence, optional): BGR colour of each key point.
        link_colours (Sequence, optional): BGR colour of each link.

    Returns:
        ndarray: The image.
    """
    keypoint_colours = keypoint_colours or make_palette(keypoints.shape[1])
    link_colours = link_colours or make_palette(len(links))
    width = line_width(image)
    points = np.asarray(keypoints, np.float64).round().astype(int).tolist()
    for pose, seen in zip(points, np.asarray(visible, bool).tolist()):
        for (start, end), colour in zip(links, link_colours):
            if seen[start] and seen[end]:
                cv2.line(image, pose[start], pose[end], colour, width, cv2.LINE_AA)
        for point, shown, colour in zip(pose, seen, keypoint_colours):
            if shown:
                cv2.circle(image, point, 2 * width, colour, -1, cv2.LINE_AA)
    return image
