"""Reading data sets in YOLO (Darknet) text files."""
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import IMAGE_SUFFIXES
from mmyolonas.utils.images import image_size
from mmyolonas.utils.progress import track

_KEYS = {'train': ('train', ), 'val': ('val', 'valid', 'validation'), 'test': ('test', )}


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
        names = read_yaml(path).get('names')
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
    if not names:
        raise UserError(f'{path} holds no class names.')
    return [str(name) for name in names]


def read_yaml(path: Path) -> Dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        DataError: It is not one.
    """
    import yaml
    try:
        value = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"'{path}' is not a valid YAML file: {reason}") from None
    if not isinstance(value, dict):
        raise DataError(f"'{path}' must hold names: [...] and train: ..., val: ...; it holds "
                        f'{type(value).__name__}')
    return value


def label_file(image: Path, images: Path, labels: Optional[Path] = None) -> Path:
    """Return where the text file of an image belongs.

    Args:
        image (Path): The image.
        images (Path): Folder of the images, above ``image``.
        labels (Path, optional): Folder of the text files; by default ``labels``
            beside ``images`` if there is one, else the image's folder.
    """
    relative = image.relative_to(images)
    if labels is not None:
        return labels / relative.with_suffix('.txt')
    if images.name == 'images' and (images.parent / 'labels').is_dir():
        return images.parent / 'labels' / relative.with_suffix('.txt')
    return image.with_suffix('.txt')


def read_labels(path: Path, num_classes: int, keypoints: int = 0,
                polygons: bool = False) -> np.ndarray:
    """Return the numbers of a text file, a row for each object.

    Args:
        path (Path): Text file; one that does not exist has no objects.
        num_classes (int): Number of classes.
        keypoints (int): Key points of an object. Defaults to 0, boxes only.
        polygons (bool): Whether a line may hold the corners of an outline
            instead of a box, of which the enclosing box is taken.

    Returns:
        ndarray: (N, 5 + 3 * keypoints): class, centre, size, key points, all
        but the class as fractions of the image.

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
        if polygons and not keypoints and len(row) >= 7 and len(row) % 2:
            corners = np.reshape(row[1:], (-1, 2))
            low, high = corners.min(0), corners.max(0)
            row = [row[0], *((low + high) / 2), *(high - low)]
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


def to_annotations(rows: np.ndarray, width: int, height: int, clip: bool = True) -> List[Dict]:
    """Return COCO annotations of one image.

    Args:
        rows (ndarray): From :func:`read_labels`.
        width, height (int): Size of the image in pixels.
        clip (bool): Whether to cut boxes at the border and drop those without
            area; if not, they are as the file says. Defaults to True.
    """
    annotations = []
    size = np.array([width, height, width, height], float)
    for row in rows:
        centre, half = row[1:3], row[3:5] / 2
        corners = np.hstack([centre - half, centre + half])
        box = (np.clip(corners, 0, 1) if clip else corners) * size
        x1, y1, x2, y2 = (round(float(value), 3) for value in box)
        if clip and (x2 <= x1 or y2 <= y1):
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


def read_yolo(description: Path) -> Dict[str, CocoSplit]:
    """Read a data set that a ``data.yaml`` describes.

    ``train``, ``val`` and ``test`` name folders of images, lists of them, or
    text files with an image a line, relative to ``path`` or to the file. The
    text file of ``.../images/a.jpg`` is ``.../labels/a.txt``, or lies beside it.

    Args:
        description (Path): The YAML file.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test', those that there are.

    Raises:
        DataError, UserError: A folder is missing or a line of a file is wrong.
    """
    values, names = read_yaml(description), read_names(description)
    if values.get('nc') not in (None, len(names)):
        raise DataError(f"'{description}' says nc: {values['nc']} but names {len(names)} classes")
    splits = {}
    for name, keys in _KEYS.items():
        entry = next((values[key] for key in keys if values.get(key)), None)
        if entry is not None:
            images = _listed_images(description, values.get('path'), entry, name)
            splits[name] = _read_split(name, images, names)
    if not splits:
        raise DataError(f"'{description}' names no images: it needs train: (and val:) with the "
                        'folder of the images')
    return splits


def _listed_images(description: Path, base: Any, entry: Any, name: str) -> List[Path]:
    """Return the images of a split."""
    found: List[Path] = []
    for item in entry if isinstance(entry, list) else [entry]:
        place = _resolve(description, base, str(item))
        if place is None:
            raise DataError(f"'{description}': {name} is {item!r}, which exists neither relative "
                            'to the file nor to its path: entry')
        if place.is_dir():
            found += sorted(p for p in place.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
        else:
            lines = place.read_text(encoding='utf-8').splitlines()
            found += [place.parent / line.strip() for line in lines if line.strip()]
    if not found:
        raise DataError(f"'{description}': there are no images in {name} ({entry})")
    return list(dict.fromkeys(path.absolute() for path in found))


def _resolve(description: Path, base: Any, item: str) -> Optional[Path]:
    """Return where an entry is; exports write ``../train/images`` for ``train/images``."""
    here = description.absolute().parent
    places = [here / str(base)] if base else []
    short = re.sub(r'^(\.\.?/)+', '', item)
    for place in (*places, here):
        for name in (item, short):
            if (place / name).exists():
                return place / name
    return None


def _read_split(name: str, paths: List[Path], names: List[str]) -> CocoSplit:
    """Return a split with boxes as the text files say, not clipped."""
    root = _common_folder(paths)
    images: List[dict] = []
    annotations: List[dict] = []
    for path in track(paths, f'reading {name} labels'):
        # an image that cannot be read is reported by the check of all images
        width, height = image_size(path) or (1, 1)
        rows = read_labels(_label_of(path), len(names), polygons=True)
        for annotation in to_annotations(rows, width, height, clip=False):
            annotations.append(dict(id=len(annotations) + 1, image_id=len(images) + 1,
                                    **annotation))
        images.append(dict(id=len(images) + 1, file_name=path.relative_to(root).as_posix(),
                           width=width, height=height))
    categories = [dict(id=index, name=label) for index, label in enumerate(names, 1)]
    return CocoSplit(name, root, dict(images=images, annotations=annotations,
                                      categories=categories))


def _common_folder(paths: List[Path]) -> Path:
    folder, *others = {path.parent for path in paths}
    while not all(other.is_relative_to(folder) for other in others):
        folder = folder.parent
    return folder


def _label_of(path: Path) -> Path:
    """Return the text file of an image: the last ``images`` in its path is ``labels``."""
    parts: Tuple[str, ...] = path.parts
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == 'images':
            there = Path(*parts[:index], 'labels', *parts[index + 1:]).with_suffix('.txt')
            if there.is_file() or not path.with_suffix('.txt').is_file():
                return there
            break
    return path.with_suffix('.txt')
