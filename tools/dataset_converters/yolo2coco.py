"""Convert a data set in YOLO (Darknet) text files to COCO JSON.

Beside each image lies (or, in labels/ for an image in images/) a text file with
a line per object: class, centre x, centre y, width, height, as fractions of the
image; for poses followed by x, y or x, y, visibility of each key point. Images
without a text file have no objects.

Class names come from --names, a file with one name a line or the data.yaml of
such data sets.
"""
from pathlib import Path
from typing import Dict, List, Optional

import cv2
import numpy as np

from mmyolonas.apis.sources import IMAGE_SUFFIXES
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json
from mmyolonas.utils.progress import track

EXAMPLES = '''examples:
  python tools/dataset_converters/yolo2coco.py data/mine/train/images train.json \\
      --names data/mine/data.yaml
  python tools/dataset_converters/yolo2coco.py images people.json --names n.txt --keypoints 17'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('images', type=Path, help='folder of the images (searched recursively)')
    parser.add_argument('out', type=Path, help='COCO JSON file to write')
    parser.add_argument('--labels', type=Path, help='folder of the text files (default: beside '
                        'the images, or labels/ beside images/)')
    parser.add_argument('--names', type=Path, required=True, help='class names: text file or '
                        'data.yaml')
    parser.add_argument('--keypoints', type=int, default=0, metavar='K', help='key points of an '
                        'object (default: 0, boxes only)')
    return parser.parse_args()


def read_names(path: Path) -> List[str]:
    """Return class names from a text file or the ``names`` of a YAML file.

    Raises:
        UserError: There are none.
    """
    if not path.is_file():
        raise UserError(f'file of class names {path} does not exist.')
    text = path.read_text(encoding='utf-8')
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix in ('.yaml', '.yml'):
        import yaml
        names = (yaml.safe_load(text) or {}).get('names')
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
    if not names:
        raise UserError(f'{path} holds no class names.')
    return [str(name) for name in names]


def label_file(image: Path, images: Path, labels: Optional[Path]) -> Path:
    """Return where the text file of an image belongs."""
    relative = image.relative_to(images)
    if labels is not None:
        return labels / relative.with_suffix('.txt')
    if images.name == 'images' and (images.parent / 'labels').is_dir():
        return images.parent / 'labels' / relative.with_suffix('.txt')
    return image.with_suffix('.txt')


def read_labels(path: Path, num_classes: int, keypoints: int) -> np.ndarray:
    """Return the numbers of a text file, a row for each object.

    Raises:
        UserError: A line is wrong; the message names it.
    """
    if not path.is_file():
        return np.zeros((0, 5 + 3 * keypoints))
    allowed = {5} if not keypoints else {5 + 2 * keypoints, 5 + 3 * keypoints}
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            row = []
        if len(row) not in allowed:
            raise UserError(f'{path}, line {number}: expected {" or ".join(map(str, allowed))} '
                            f'numbers, got "{line.strip()[:60]}".')
        if not (row[0].is_integer() and 0 <= row[0] < num_classes):
            raise UserError(f'{path}, line {number}: class {row[0]:g} is not among the '
                            f'{num_classes} names.')
        if keypoints and len(row) == 5 + 2 * keypoints:
            points = np.reshape(row[5:], (-1, 2))
            shown = 2.0 * (points != 0).any(1, keepdims=True)
            row = [*row[:5], *np.hstack([points, shown]).ravel()]
        rows.append(row)
    return np.reshape(rows, (-1, 5 + 3 * keypoints))


def to_annotations(rows: np.ndarray, width: int, height: int) -> List[Dict]:
    """Return COCO annotations of one image; boxes are clipped to it."""
    annotations = []
    size = np.array([width, height, width, height], float)
    for row in rows:
        centre, half = row[1:3], row[3:5] / 2
        box = np.clip(np.hstack([centre - half, centre + half]), 0, 1) * size
        x1, y1, x2, y2 = (round(float(value), 3) for value in box)
        if x2 <= x1 or y2 <= y1:
            continue
        annotation = dict(category_id=int(row[0]) + 1, bbox=[x1, y1, x2 - x1, y2 - y1],
                          area=(x2 - x1) * (y2 - y1), iscrowd=0)
        if len(row) > 5:
            points = row[5:].reshape(-1, 3) * [width, height, 1]
            annotation.update(
                keypoints=[round(float(value), 3) for value in points.ravel()],
                num_keypoints=int((points[:, 2] > 0).sum()))
        annotations.append(annotation)
    return annotations


def main() -> None:
    """Run the tool."""
    args = parse_args()
    names = read_names(args.names)
    paths = sorted(p for p in args.images.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f'{args.images} holds no images.')
    images, annotations, dropped = [], [], 0
    for path in track(paths, 'images'):
        image = cv2.imread(str(path))
        if image is None:
            raise UserError(f'image {path} cannot be read; replace or remove it.')
        height, width = image.shape[:2]
        rows = read_labels(label_file(path, args.images, args.labels), len(names), args.keypoints)
        found = to_annotations(rows, width, height)
        dropped += len(rows) - len(found)
        for annotation in found:
            annotations.append(dict(id=len(annotations) + 1, image_id=len(images), **annotation))
        images.append(dict(id=len(images), file_name=path.relative_to(args.images).as_posix(),
                           width=width, height=height))
    categories = [dict(id=index, name=name) for index, name in enumerate(names, 1)]
    if args.keypoints:
        for category in categories:
            category.update(keypoints=[f'point{i}' for i in range(args.keypoints)], skeleton=[])
    write_json(args.out, dict(images=images, annotations=annotations, categories=categories))
    print(f'{args.out}: {len(images)} images, {len(annotations)} objects of {len(names)} classes'
          + (f'; {dropped} boxes without area left out' if dropped else ''))


if __name__ == '__main__':
    run_main(main)
