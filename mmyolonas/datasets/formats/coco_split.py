"""One part (train, val, test) of a detection data set, and what its parts have in common."""
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

from mmyolonas.datasets.formats.coco_checks import read_coco_file, shorten
from mmyolonas.utils.data_error import DataError

#: The parts of a data set, in the order in which they are shown.
SPLITS = ('train', 'val', 'test')


@dataclass
class CocoSplit:
    """Images and boxes of one part of a data set.

    Attributes:
        name (str): 'train', 'val' or 'test'.
        images (Path): Folder that the file names start from.
        data (dict): COCO's lists ``images``, ``annotations``, ``categories``.
        ann_file (Path, optional): The file it was read from; None where it was
            made in memory and has to be written before training.
    """
    name: str
    images: Path
    data: Dict[str, Any]
    ann_file: Optional[Path] = None

    @property
    def paths(self) -> List[Path]:
        """list[Path]: The image files, in the order of ``data['images']``."""
        return [self.images / image['file_name'] for image in self.data['images']]

    @classmethod
    def read(cls, name: str, ann_file: Path, images: Path) -> 'CocoSplit':
        """Read an annotation file.

        Raises:
            DataError: It is missing, cut short, not in COCO format or lists no
                images.
        """
        data = read_coco_file(str(ann_file), str(ann_file))
        if not data['images']:
            raise DataError(f"annotation file '{ann_file}' lists no images: the data set is empty")
        return cls(name, Path(images), data, Path(ann_file))


def data_classes(splits: Iterable[CocoSplit], occurring_only: bool = False) -> Tuple[str, ...]:
    """Return the class names of a data set: the first part's in its order, then others'.

    The category of id 0 that Roboflow's exports begin with names the whole set;
    it is left out if no part has a box of it (and there are other categories).

    Args:
        splits (Iterable[CocoSplit]): The parts, train first.
        occurring_only (bool): Whether to leave out classes without a box in any
            part, which cannot be learnt or scored. Defaults to False.

    Returns:
        tuple[str]: Distinct names.

    Raises:
        DataError: There is no box of any class.
    """
    splits = list(splits)
    used = {name for split in splits for name in boxes_by_name(split.data)}
    if not used:
        files = shorten([split.ann_file or split.images for split in splits])
        raise DataError(f'there is not a single box in {files}: label the images first, or export '
                        'the labels with them')
    names: Dict[str, None] = {}
    for split in splits:
        categories = split.data['categories']
        for category in categories:
            name = category['name']
            super_category = category['id'] == 0 and len(categories) > 1 and name not in used
            if not super_category and (name in used or not occurring_only):
                names[name] = None
    return tuple(names)


def boxes_by_name(data: Dict[str, Any]) -> Counter:
    """Return how many boxes each category name has in COCO data."""
    names = {category['id']: category['name'] for category in data['categories']}
    counts = Counter(annotation['category_id'] for annotation in data['annotations'])
    total: Counter = Counter()
    for key, count in counts.items():
        if key in names:
            total[names[key]] += count
    return total


def check_unique_names(split: CocoSplit) -> None:
    """Raise if two categories that both have boxes share a name.

    Raises:
        DataError: The message names the category and its ids.
    """
    counts = Counter(annotation['category_id'] for annotation in split.data['annotations'])
    ids = defaultdict(list)
    for category in split.data['categories']:
        if counts[category['id']]:
            ids[category['name']].append(category['id'])
    for name, double in ids.items():
        if len(double) > 1:
            raise DataError(
                f"'{split.ann_file or split.images}': {len(double)} categories are called "
                f'{shorten([name])} (ids {shorten(double)}) and each has boxes: rename one if they '
                'are different things, or give their boxes one id if they are the same')
