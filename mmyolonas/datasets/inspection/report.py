"""Looking at a data set before training on it: what there is, and what is wrong."""
from typing import Dict, List, Sequence, Tuple

from mmyolonas.datasets.formats.coco_split import check_unique_names, data_classes
from mmyolonas.datasets.formats.layouts import DataLayout
from mmyolonas.datasets.formats.splitting import source_name, split_off
from mmyolonas.datasets.inspection import data_warnings as checks
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.datasets.inspection.image_scan import ScannedImage, scan_images, similar_groups
from mmyolonas.datasets.inspection.records import DataReport, SplitReport
from mmyolonas.datasets.inspection.upright import uprightness


def inspect_data(layout: DataLayout, occurring_only: bool = False) -> DataReport:
    """Look at all images and boxes of a data set.

    Where there is no validation part, one is divided from the training part
    (see :func:`~mmyolonas.datasets.formats.splitting.split_off`).

    Args:
        layout (DataLayout): The data set.
        occurring_only (bool): Whether classes without any box are left out.

    Returns:
        DataReport: With warnings in plain words. Images that are missing or
        cannot be read are listed, not raised.

    Raises:
        DataError: There are no boxes, a category name occurs twice, or there
            are too few images.
    """
    notes = list(layout.notes)
    for split in layout.splits.values():
        check_unique_names(split)
    scanned = {name: scan_images(split.paths, f'looking at {name} images')
               for name, split in layout.splits.items()}
    series: List[list] = []
    if 'val' not in layout.splits:
        note, series = _divide(layout, scanned)
        notes.append(note)
    classes = data_classes(layout.splits.values(), occurring_only)
    splits = {name: SplitReport(split, scanned[name], box_table(split, classes))
              for name, split in layout.splits.items()}
    report = DataReport(layout, classes, splits, notes=notes)
    report.similar, report.leaks = _similar(splits)
    report.series = sum(map(len, series))
    report.upright = uprightness(splits['train'])
    divided = {path for group in series for path in group}
    # said in a sentence of its own
    report.leaks = [group for group in report.leaks
                    if {name for name, _ in group} != {'train', 'val'} or not divided.issuperset(
                        splits[name].scanned[index].path for name, index in group)]
    report.warnings = [warning for check in checks.CHECKS for warning in check(report)]
    return report


def _divide(layout: DataLayout, scanned: Dict[str, List[ScannedImage]]) -> Tuple[str, List[list]]:
    """Divide the training part in place.

    Returns:
        tuple[str, list]: The sentence that says so, and the paths of each group of
        images that look alike but had to be divided.
    """
    whole, files = layout.splits['train'], scanned['train']
    usable = [i for i, image in enumerate(files) if image.problem is None]
    similar = [[usable[i] for i in group] for group in similar_groups([files[i] for i in usable])]
    by_path = {image.path: image for image in files}
    same: Dict[bytes, List[int]] = {}
    for index in usable:
        same.setdefault(files[index].digest, []).append(index)
    train, val = split_off(whole, similar, same=[g for g in same.values() if len(g) > 1])
    layout.splits.update(train=train, val=val)
    layout.splits = {key: layout.splits[key] for key in ('train', 'val', 'test')
                     if key in layout.splits}
    for part in (train, val):
        scanned[part.name] = [by_path[path] for path in part.paths]
    chosen = set(val.paths)
    series = [[files[i].path for i in group] for group in similar
              if 0 < sum(files[i].path in chosen for i in group) < len(group)]
    return (f'there is no validation split: {len(val.paths)} of {len(files)} training images were '
            'set aside for it, chosen by their file names (the same ones every time; images that '
            'look alike stay together where they can)'), series


def _similar(splits: Dict[str, SplitReport]) -> Tuple[list, list]:
    """Return groups of images that look the same or are copies of one source, and the leaks."""
    places = [(name, index) for name, part in splits.items()
              for index in range(len(part.scanned))]
    files = [splits[name].scanned[index] for name, index in places]
    usable = [i for i, image in enumerate(files) if image.problem is None]
    groups = [[places[usable[i]] for i in group]
              for group in similar_groups([files[i] for i in usable])]
    leaks = [group for group in groups if len({name for name, _ in group}) > 1]
    seen = {place for group in leaks for place in group}
    for group in _copies(splits, places):
        if len({name for name, _ in group}) > 1 and not seen.issuperset(group):
            leaks.append(group)
    return groups, leaks


def _copies(splits: Dict[str, SplitReport], places: Sequence[Tuple[str, int]]) -> List[list]:
    """Return groups of images that an export made from one source image."""
    sources: Dict[str, list] = {}
    for name, index in places:
        file_name = splits[name].split.data['images'][index]['file_name']
        source = source_name(file_name)
        if source != file_name:
            sources.setdefault(source, []).append((name, index))
    return [group for group in sources.values() if len(group) > 1]
