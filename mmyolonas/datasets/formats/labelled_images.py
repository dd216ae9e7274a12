"""Images with boxes by class name, on the way from a format's reader to COCO's lists."""
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.split_names import split_of
from mmyolonas.datasets.formats.walking import files_below
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.files import IMAGE_SUFFIXES
from mmyolonas.utils.images import image_size

_MAX_FILES = 2_000_000


@dataclass
class LabelledImage:
    """An image and its objects.

    Attributes:
        path (Path): The image, whether it exists or not.
        size (tuple[int, int], optional): Width and height; None for the file's own.
        objects (list): Class name, and x, y, width, height in pixels.
    """
    path: Path
    size: Optional[Tuple[int, int]]
    objects: List[Tuple[str, List[float]]] = field(default_factory=list)


def to_splits(root: Path, parts: Dict[str, List[LabelledImage]]) -> Dict[str, CocoSplit]:
    """Return COCO splits with the classes of all parts, sorted by name.

    Args:
        root (Path): Folder that file names start from.
        parts (dict[str, list[LabelledImage]]): By 'train', 'val', 'test'.

    Raises:
        DataError: All boxes are fractions of their images.
    """
    boxes = [box for items in parts.values() for item in items for _, box in item.objects]
    if boxes and max(max(abs(value) for value in box) for box in boxes) <= 1.0001:
        raise DataError(f"the boxes of '{root}' are fractions of the image, where pixels are "
                        'expected: export the labels in pixels, or in YOLO or COCO format')
    names = sorted({name for items in parts.values() for item in items for name, _ in item.objects})
    ids = {name: number for number, name in enumerate(names, 1)}
    categories = [dict(id=number, name=name) for name, number in ids.items()]
    splits = {}
    for part, items in parts.items():
        images, annotations = [], []
        for number, item in enumerate(items, 1):
            width, height = item.size or image_size(item.path) or (1, 1)
            name = _relative(item.path, root)
            images.append(dict(id=number, file_name=name, width=width, height=height))
            for label, box in item.objects:
                annotations.append(dict(
                    id=len(annotations) + 1, image_id=number, category_id=ids[label], bbox=box,
                    area=box[2] * box[3], iscrowd=0))
        splits[part] = CocoSplit(part, root, dict(images=images, annotations=annotations,
                                                  categories=list(categories)))
    return splits


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path.absolute())


class ImageIndex:
    """The images below a folder, by name; for labels that name them in some way.

    Args:
        root (Path): The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: List[Path] = []
        self._names: Dict[str, List[Path]] = defaultdict(list)
        self._stems: Dict[str, List[Path]] = defaultdict(list)
        for number, path in enumerate(files_below(root)):
            if number > _MAX_FILES:
                raise DataError(f"'{root}' holds more than {_MAX_FILES} files: give the folder of "
                                'the data set')
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self.paths.append(path)
                self._names[path.name.lower()].append(path)
                self._stems[path.stem.lower()].append(path)
        self.paths.sort()

    def by_name(self, name: str, near: Path) -> Optional[Path]:
        """Return the image that a label file names.

        Args:
            name (str): A name or a path, of any system.
            near (Path): The label file; of several the one closest to it is taken.
        """
        parts = [part for part in name.replace('\\', '/').split('/') if part not in ('', '.', '..')]
        if not parts:
            return None
        found = self._names.get(parts[-1].lower(), [])
        longest = [sum(1 for _ in _common(path.parts[::-1], parts[::-1])) for path in found]
        best = [path for path, count in zip(found, longest) if count == max(longest)]
        return self._nearest(best, near)

    def by_stem(self, stem: str, near: Path) -> Optional[Path]:
        """Return the image that is called like a label file."""
        return self._nearest(self._stems.get(stem.lower(), []), near)

    def _nearest(self, paths: List[Path], near: Path) -> Optional[Path]:
        """Return the closest image, but never one of another part of the data."""
        part = split_of(near, self.root)
        paths = [path for path in paths if part is None
                 or split_of(path, self.root) in (None, part)]
        return _nearest(paths, near)


def _common(one: Iterable[str], other: Iterable[str]) -> Iterable[str]:
    for first, second in zip(one, other):
        if first.lower() != second.lower():
            return
        yield first


def _nearest(paths: List[Path], near: Path) -> Optional[Path]:
    """Return the path that shares most folders with another, from the top and from below."""
    def shared(path: Path) -> Tuple[int, int, str]:
        top = sum(1 for _ in _common(path.parent.parts, near.parent.parts))
        own = Counter(part.lower() for part in path.parent.parts)
        return top, sum((own & Counter(p.lower() for p in near.parent.parts)).values()), str(path)

    return max(paths, key=shared) if paths else None
