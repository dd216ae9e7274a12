"""What is known of the 100 data sets of Roboflow 100 and of results on them.

``rf100.csv`` holds, for each data set: category, version on Roboflow, images of each
split, ``classes`` that occur and ``listed_classes`` of the official table (ten differ,
one is not given there), and mAP at IoU 0.5 of YOLOv5, YOLOv7 and YOLOv8.

Sources: ``metadata/datasets_stats.csv`` and ``datasets_links_640.txt`` of
roboflow/roboflow-100-benchmark (arXiv:2211.13523); ``classes`` from SuperGradients'
``roboflow/metadata.py`` (reference.md 15.3). Its authors warn that the released numbers
mix splits: some are of valid, some of test (issue 46 there).
"""
import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

#: Models with released numbers, in the order of the table.
RELEASED = ('yolov5', 'yolov7', 'yolov8')
#: Deci's means of mAP at IoU 0.5 (figure in SuperGradients' documentation); neither
#: the split nor a table by data set was published. Its base lines are the released
#: numbers over the 94 data sets that have all three.
PUBLISHED_YOLONAS = dict(s=0.815, m=0.818)


@dataclass(frozen=True)
class RF100Dataset:
    """One data set.

    Attributes:
        name: Name of its folder.
        category: One of seven.
        version: Version on Roboflow.
        train, valid, test: Number of images.
        classes: Classes that occur.
        listed_classes: Classes of the official table, if it gives them.
        released: mAP at IoU 0.5 by model of :data:`RELEASED`, where there is one.
    """
    name: str
    category: str
    version: int
    train: int
    valid: int
    test: int
    classes: int
    listed_classes: Optional[int]
    released: Tuple[Tuple[str, float], ...]

    @property
    def scores(self) -> Dict[str, float]:
        """dict[str, float]: ``released`` as a dictionary."""
        return dict(self.released)


@cache
def rf100_datasets() -> Dict[str, RF100Dataset]:
    """Return the 100 data sets by name."""
    datasets = {}
    path = Path(__file__).with_name('rf100.csv')
    with open(path, newline='', encoding='utf-8') as file:
        for row in csv.DictReader(file):
            released = tuple((model, float(row[model])) for model in RELEASED if row[model])
            listed = row['listed_classes']
            datasets[row['name']] = RF100Dataset(
                row['name'], row['category'], int(row['version']), int(row['train']),
                int(row['valid']), int(row['test']), int(row['classes']),
                int(listed) if listed else None, released)
    return datasets


def rf100_categories() -> Tuple[str, ...]:
    """Return the seven categories, the largest first."""
    count: Dict[str, int] = {}
    for dataset in rf100_datasets().values():
        count[dataset.category] = count.get(dataset.category, 0) + 1
    return tuple(sorted(count, key=lambda name: (-count[name], name)))


def released_mean(names: Sequence[str]) -> Dict[str, float]:
    """Return the mean released mAP of each model over data sets.

    Args:
        names (Sequence[str]): Data sets that have all of :data:`RELEASED`.
    """
    known = rf100_datasets()
    return {model: sum(known[name].scores[model] for name in names) / len(names)
            for model in RELEASED} if names else {}


def common_names(names: Sequence[str]) -> Tuple[str, ...]:
    """Return those of ``names`` for which every model has a released number."""
    known = rf100_datasets()
    return tuple(name for name in names
                 if name in known and len(known[name].released) == len(RELEASED))
