"""Reading data sets in YOLO (Darknet) text files."""
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.text_files import read_text
from mmyolonas.datasets.formats.walking import files_below
from mmyolonas.datasets.formats.yolo_labels import (
    RowKind,
    read_rows,
    row_kind,
    to_annotations,
    to_rows,
)
from mmyolonas.datasets.formats.yolo_names import names_of, pose_category, read_yaml
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.files import IMAGE_SUFFIXES
from mmyolonas.utils.images import image_size
from mmyolonas.utils.progress import track

_KEYS = {'train': ('train', ), 'val': ('val', 'valid', 'validation'), 'test': ('test', )}


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


def read_yolo(description: Path, notes: Optional[List[str]] = None,
              poses: bool = False) -> Dict[str, CocoSplit]:
    """Read a data set that a ``data.yaml`` describes.

    ``train``, ``val`` and ``test`` name folders of images, lists of them, or
    text files with an image a line, relative to ``path`` or to the file. The
    text file of ``.../images/a.jpg`` is ``.../labels/a.txt``, or lies beside it.

    Args:
        description (Path): The YAML file.
        notes (list[str], optional): Gets a sentence on what was left out.
        poses (bool): Whether key points are kept. Defaults to False.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test', those that there are.

    Raises:
        DataError, UserError: A folder is missing or a line of a file is wrong.
    """
    values = read_yaml(description)
    names = names_of(values, description)
    images: Dict[str, List[Path]] = {}
    for name, keys in _KEYS.items():
        entry = next((values[key] for key in keys if values.get(key)), None)
        if entry is not None:
            images[name] = _listed_images(description, values.get('path'), entry, name)
    if not images:
        raise DataError(f"'{description}' names no images: it needs train: (and val:) with the "
                        'folder of the images')
    return read_image_lists(images, names, values, description, notes, poses)


def read_image_lists(images: Dict[str, List[Path]], names: List[str], values: Dict[str, Any],
                     description: Path, notes: Optional[List[str]] = None,
                     poses: bool = False) -> Dict[str, CocoSplit]:
    """Read the label files of images, of all parts together.

    Args:
        images (dict[str, list[Path]]): Images of each part.
        names (list[str]): Class names.
        values (dict): The description of the data set, ``{}`` without.
        description (Path): Its file, for messages.
        notes (list[str], optional): Gets a sentence on what was left out.
        poses (bool): Whether key points are kept. Defaults to False.
    """
    lines = {name: [read_rows(label_of(path)) for path in track(paths, f'reading {name} labels')]
             for name, paths in images.items()}
    every = [row for part in lines.values() for rows in part for _, row in rows]
    kind = row_kind(values, every, description)
    _check_scale(every, kind, description)
    _check_corners(every, kind, description)
    _check_start(every, values.get('names'), description)
    points = pose_category(values, description) if poses and kind.keypoints else None
    if kind.keypoints and not poses and notes is not None:
        notes.append(f'each object has {kind.keypoints} key points, of which a detector needs '
                     'none: the boxes are used')
    return {name: _read_split(name, paths, lines[name], names, kind, points)
            for name, paths in images.items()}


def _check_corners(rows: Sequence[np.ndarray], kind: RowKind, description: Path) -> None:
    """Raise if boxes are two corners: as such they fit, as centre and size many reach out."""
    boxes = np.array([row[1:5] for row in rows if len(row) in kind.lengths])
    if len(boxes) < 5:
        return
    first, second = boxes[:, :2], boxes[:, 2:]
    fits = ((second > first) & (first >= -0.01) & (second <= 1.01)).all(1)
    over = ((first + second / 2 > 1.01) | (first - second / 2 < -0.01)).any(1)
    if fits.mean() >= 0.98 and over.mean() > 0.3:
        raise DataError(f"the labels of '{description}' are two corners (x1, y1, x2, y2), YOLO's "
                        'text files have centre x, centre y, width and height: convert them')


def _check_start(rows: Sequence[np.ndarray], names: Any, description: Path) -> None:
    """Raise if the names are numbered from 1 and the labels from 0: classes would be exchanged."""
    numbers = {str(key).strip() for key in names} if isinstance(names, dict) else set()
    if {'1'} <= numbers and '0' not in numbers and any(row[0] == 0 for row in rows):
        raise DataError(f"'{description}' numbers its names from 1, but there are labels of class "
                        '0: number the names as the labels do, from 0')


def _check_scale(rows: Sequence[np.ndarray], kind: RowKind, description: Path) -> None:
    """Raise if boxes are in pixels: nearly all numbers are far above 1."""
    boxes = [row[1:5] for row in rows if len(row) in kind.lengths]
    if boxes and np.mean(np.max(boxes, axis=1) > 2) > 0.5:
        raise DataError(f"the labels of '{description}' are in pixels or percent, YOLO's text "
                        'files have fractions of the image within 0 and 1: divide x and width by '
                        'the width of the image, y and height by its height')


def _listed_images(description: Path, base: Any, entry: Any, name: str) -> List[Path]:
    """Return the images of a split."""
    found: List[Path] = []
    for item in entry if isinstance(entry, list) else [entry]:
        place = _resolve(description, base, str(item))
        if place is None:
            raise DataError(f"'{description}': {name} is {item!r}, which exists neither relative "
                            'to the file nor to its path: entry')
        if place.is_dir():
            found += images_below(place)
        elif place.suffix.lower() in IMAGE_SUFFIXES:
            found.append(place)
        else:
            found += listed_in(place, description, base)
    if not found:
        raise DataError(f"'{description}': there are no images in {name} ({entry}) of the formats "
                        f'that are read ({", ".join(sorted(IMAGE_SUFFIXES))}): convert others to '
                        'JPEG or PNG')
    return list(dict.fromkeys(path.absolute() for path in found))


def images_below(folder: Path) -> List[Path]:
    """Return the images in a folder and its folders, without leftovers of systems."""
    return sorted(files_below(folder, IMAGE_SUFFIXES))


def listed_in(path: Path, description: Path, base: Any = None) -> List[Path]:
    """Return the images that a text file lists, one a line, relative to anything usual.

    Raises:
        DataError: The first one is nowhere.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith('#')]
    found = []
    for line in lines:
        place = _resolve(path, None, line) or _resolve(description, base, line)
        if place is None and not found:
            raise DataError(f"'{path}' lists the image '{line}', which exists neither relative to "
                            f"it nor to '{description.parent}'")
        found.append(place or path.parent / line)
    return found


def _resolve(description: Path, base: Any, item: str) -> Optional[Path]:
    """Return where an entry is; exports write ``../train/images`` for ``train/images``.

    Paths of another machine are looked for by their last parts, Windows paths too.
    """
    if '\0' in item:
        return None
    here = description.absolute().parent
    places = [here / str(base)] if base else []
    parts = [part for part in item.replace('\\', '/').split('/') if part not in ('', '.', '..')]
    names = [item, *('/'.join(parts[index:]) for index in range(len(parts)))]
    for name in names:
        for place in (*places, here, here.parent):
            if place == here.parent and name != item and '/' not in name:
                continue  # a bare name above the data is another data set's
            try:
                if (place / name).exists():
                    return place / name
            except OSError:
                return None
    return None


def _read_split(name: str, paths: List[Path], lines: List[list], names: List[str],
                kind: RowKind, points: Optional[Dict[str, Any]]) -> CocoSplit:
    """Return a split with boxes as the text files say, not clipped; with points or without."""
    root = _common_folder(paths)
    images: List[dict] = []
    annotations: List[dict] = []
    for path, of_image in zip(paths, lines):
        # an image that cannot be read is reported by the check of all images
        width, height = image_size(path) or (1, 1)
        rows = to_rows(of_image, len(names), kind, label_of(path))
        for annotation in to_annotations(rows if points is not None else rows[:, :5], width,
                                         height, clip=False):
            annotations.append(dict(id=len(annotations) + 1, image_id=len(images) + 1,
                                    **annotation))
        images.append(dict(id=len(images) + 1, file_name=path.relative_to(root).as_posix(),
                           width=width, height=height))
    categories = [dict(id=index, name=label, **(points or {}))
                  for index, label in enumerate(names, 1)]
    return CocoSplit(name, root, dict(images=images, annotations=annotations,
                                      categories=categories))


def _common_folder(paths: List[Path]) -> Path:
    folder, *others = {path.parent for path in paths}
    while not all(other.is_relative_to(folder) for other in others):
        folder = folder.parent
    return folder


def label_of(path: Path) -> Path:
    """Return the text file of an image: the last ``images`` in its path is ``labels``."""
    parts: Tuple[str, ...] = path.parts
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == 'images':
            there = _text_file(Path(*parts[:index], 'labels', *parts[index + 1:]))
            if there.is_file() or not _text_file(path).is_file():
                return there
            break
    return _text_file(path)


def _text_file(path: Path) -> Path:
    lower, upper = path.with_suffix('.txt'), path.with_suffix('.TXT')
    return upper if not lower.is_file() and upper.is_file() else lower
