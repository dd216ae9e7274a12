"""Folders of many data sets in Roboflow's layout."""
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from mmyolonas.datasets.formats.coco_split import CocoSplit, check_unique_names, data_classes
from mmyolonas.datasets.formats.roboflow import is_roboflow, read_roboflow
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from mmyolonas.workflows.rf100.rf100 import rf100_datasets


def find_datasets(root: Path, names: Optional[Sequence[str]] = None) -> List[str]:
    """Return the names of the data sets to run, sorted.

    Args:
        root (Path): Folder with one folder for each data set.
        names (Sequence[str], optional): The ones to take; all folders in
            Roboflow's layout by default.

    Raises:
        UserError: A folder does not exist, or there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f'folder {root} does not exist; tools/misc/download_dataset.py rf100 '
                        'downloads the data sets.')
    if names:
        missing = [name for name in names if not (root / name).is_dir()]
        if missing:
            raise UserError(f'{root} has no folder {", ".join(missing)}.')
        return sorted(dict.fromkeys(names))
    # a folder without any split of that layout is a data set whose download broke off
    found = sorted(path.name for path in root.iterdir()
                   if path.is_dir() and not path.name.startswith('.')
                   and (is_roboflow(path) or path.name in rf100_datasets()))
    if not found:
        raise UserError(f"{root} holds no data set in Roboflow's COCO layout "
                        '(<name>/train/_annotations.coco.json).')
    return found


def shard_of(names: Sequence[str], index: int, count: int) -> List[str]:
    """Return the part of data sets that job ``index`` (from 1) of ``count`` does.

    The large ones are spread over the jobs, by the published numbers of images.

    Raises:
        UserError: The numbers do not make sense.
    """
    if not 1 <= index <= count:
        raise UserError(f'--shard I/N needs 1 <= I <= N, got {index}/{count}.')
    known = rf100_datasets()
    order = sorted(names, key=lambda n: (-(known[n].train if n in known else 0), n))
    # there and back again, so that no job gets the larger one of each round
    rounds = [order[start:start + count] for start in range(0, len(order), count)]
    return sorted(part[index - 1] for part in (
        part if number % 2 == 0 else _backwards(part, count)
        for number, part in enumerate(rounds)) if index <= len(part) and part[index - 1])


def _backwards(part: List[str], count: int) -> List[Optional[str]]:
    return [*[None] * (count - len(part)), *part[::-1]]


def read_splits(folder: Path) -> Tuple[Dict[str, CocoSplit], Tuple[str, ...]]:
    """Read and check a data set; return its splits and the classes that occur.

    Raises:
        DataError: A split is missing or empty or has no box, images are missing, or
            two classes share a name.
    """
    splits = read_roboflow(folder, needed=('train', 'val', 'test'))
    for split in splits.values():
        check_unique_names(split)
        missing = [path for path in split.paths if not path.is_file()]
        if missing:
            raise DataError(
                f"annotation file '{split.ann_file}' lists {len(missing)} images that do not "
                f"exist, the first: '{missing[0]}': download the data set again, or remove them "
                'from the file')
    classes = data_classes(splits.values(), occurring_only=True)
    for split in splits.values():
        if not split.data['annotations']:
            raise DataError(f"annotation file '{split.ann_file}' has no box: there is nothing to "
                            'learn or to score; move labelled images there')
    return splits, classes
