"""The layout of Roboflow's COCO exports, which RF100 has too.

``<root>/{train,valid,test}/`` hold the images and beside them
``_annotations.coco.json``; category 0 is for the whole set and has no boxes.
"""
from pathlib import Path
from typing import Dict, Sequence

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.utils.data_error import DataError

ANNOTATIONS = '_annotations.coco.json'
#: Folder names of each part; the first is Roboflow's own.
FOLDERS = {'train': ('train', ), 'val': ('valid', 'val', 'validation'), 'test': ('test', )}


def is_roboflow(root: Path) -> bool:
    """Whether a folder has this layout, with at least one part."""
    return any((Path(root) / folder / ANNOTATIONS).is_file()
               for folders in FOLDERS.values() for folder in folders)


def read_roboflow(root: Path, needed: Sequence[str] = ('train', )) -> Dict[str, CocoSplit]:
    """Read the parts of a data set in this layout.

    Class names: :func:`~mmyolonas.datasets.formats.coco_split.data_classes`; labels are
    matched by name on loading (``CheckedCocoDataset``), so ids need no remapping.

    Args:
        root (Path): Folder of the data set.
        needed (Sequence[str]): Parts that must be there, among 'train', 'val'
            and 'test'. Defaults to 'train'.

    Returns:
        dict[str, CocoSplit]: By 'train', 'val', 'test', those that there are.

    Raises:
        DataError: A part that is needed is missing, or a file is damaged.
    """
    root = Path(root)
    splits: Dict[str, CocoSplit] = {}
    for name, folders in FOLDERS.items():
        for folder in folders:
            if (root / folder / ANNOTATIONS).is_file():
                splits[name] = CocoSplit.read(name, root / folder / ANNOTATIONS, root / folder)
                break
        else:
            if name in needed:
                raise DataError(
                    f"data set '{root}' has no {name} split: expected "
                    f"'{root / folders[0] / ANNOTATIONS}' with the images beside it (Roboflow's "
                    'COCO layout)')
    return splits
