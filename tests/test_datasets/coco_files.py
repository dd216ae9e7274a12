"""Small COCO data sets for tests."""
import json
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np

CLASSES = ('cat', 'dog')


def write_image(path: Path, width: int = 64, height: int = 48, seed: int = 0) -> None:
    """Write a noisy image in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    assert cv2.imwrite(str(path), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def coco_dict(boxes: Sequence[Sequence] = ((1, 1, [5, 6, 20, 30]), (2, 2, [0, 0, 10, 10])),
              num_images: int = 2, classes: Sequence[str] = CLASSES) -> dict:
    """Return a COCO file; ``boxes`` holds (image id, category id, [x, y, w, h])."""
    images = [dict(id=i, file_name=f'{i}.jpg', width=64, height=48)
              for i in range(1, num_images + 1)]
    annotations = [
        dict(id=i, image_id=image, category_id=category, bbox=box, area=100., iscrowd=0)
        for i, (image, category, box) in enumerate(boxes, 1)]
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_coco(folder: Path, data: Optional[dict] = None) -> Path:
    """Write images and ``ann.json`` into ``folder`` and return the folder."""
    data = data or coco_dict()
    for image in data['images']:
        write_image(folder / image['file_name'], image['width'], image['height'], image['id'])
    (folder / 'ann.json').write_text(json.dumps(data))
    return folder
