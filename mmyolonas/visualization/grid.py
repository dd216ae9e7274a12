"""Many pictures in one."""
from typing import Optional, Sequence

import cv2
import numpy as np

from mmyolonas.visualization.drawing import draw_text


def fit(image: np.ndarray, height: int, width: int, fill: int = 255) -> np.ndarray:
    """Return an image scaled into (height, width), centred, the rest filled."""
    ratio = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio))
    scaled = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    cell = np.full((height, width, 3), fill, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    cell[top:top + size[1], left:left + size[0]] = scaled
    return cell


def make_grid(images: Sequence[np.ndarray],
              columns: int,
              cell: int = 320,
              titles: Optional[Sequence[str]] = None,
              gap: int = 4) -> np.ndarray:
    """Return one picture with images in rows of ``columns``.

    Args:
        images (Sequence[ndarray]): (H, W, 3) BGR, uint8, of any sizes.
        columns (int): Images in a row.
        cell (int): Side of a cell in pixels. Defaults to 320.
        titles (Sequence[str], optional): A title for each image.
        gap (int): Space between cells in pixels. Defaults to 4.

    Returns:
        ndarray: The picture, BGR, uint8.

    Raises:
        ValueError: There is no image.
    """
    if not images:
        raise ValueError('make_grid: there is no image to show.')
    cells = []
    for index, image in enumerate(images):
        fitted = fit(image, cell, cell)
        if titles is not None and titles[index]:
            draw_text(fitted, titles[index], (0, 0), (40, 40, 40))
        cells.append(np.pad(fitted, ((0, gap), (0, gap), (0, 0)), constant_values=255))
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[i:i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)
