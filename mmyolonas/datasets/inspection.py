"""Looking at a data set before training on it: what there is, and what is wrong."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from . import data_warnings as checks
from .box_table import BoxTable, box_table
from .coco_split import CocoSplit, check_unique_names, data_classes
from .image_scan import ScannedImage, scan_images, similar_groups
from .layouts import DataLayout
from .splitting import source_name, split_off


@dataclass
class SplitReport:
    """One part of a data set.

    Attributes:
        split (CocoSplit): Its images and annotations as they were found.
        scanned (list[ScannedImage]): Its image files, in the same order.
        table (BoxTable): Its usable boxes.
    """
    split: CocoSplit
    scanned: List[ScannedImage]
    table: BoxTable

    @property
    def sizes(self) -> np.ndarray:
        """ndarray: (N, 2) width and height that the annotations say."""
        return np.array([(i['width'], i['height']) for i in self.split.data['images']],
                        float).reshape(-1, 2)

    @property
    def bad_images(self) -> List[int]:
        """list[int]: Indices of images that are missing or cannot be read."""
        return [index for index, image in enumerate(self.scanned) if image.problem]

    @property
    def empty_images(self) -> int:
        """int: Number of images without a box."""
        return len(self.scanned) - len(np.unique(self.table.images))

    def counts(self, num_classes: int) -> np.ndarray:
        """Return the number of boxes of each class."""
        return np.bincount(self.table.labels[~self.table.crowd], minlength=num_classes)


@dataclass
class DataReport:
    """What was found in a data set.

    Attributes:
        layout (DataLayout): Where it is; its splits may have been divided.
        classes (tuple[str]): Class names, label 0 first.
        splits (dict[str, SplitReport]): By 'train', 'val', 'test'.
        similar (list): Groups of (split, index) of images that look the same.
        leaks (list): The groups with images of more than one part.
        notes (list[str]): What was decided, in sentences.
        warnings (list[str]): What should be looked at, in sentences.
    """
    layout: DataLayout
    classes: Tuple[str, ...]
    splits: Dict[str, SplitReport]
    similar: List[List[Tuple[str, int]]] = field(default_factory=list)
    leaks: List[List[Tuple[str, int]]] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return plain values for a JSON file."""
        parts = {}
        for name, part in self.splits.items():
            counts = part.counts(len(self.classes))
            parts[name] = dict(
                images=len(part.scanned), boxes=int(counts.sum()), empty=part.empty_images,
                unusable_images=len(part.bad_images),
                boxes_of_class={c: int(n) for c, n in zip(self.classes, counts)},
                problems=part.table.problems)
        return dict(root=str(self.layout.root), format=self.layout.format,
                    classes=list(self.classes), splits=parts, leaks=len(self.leaks),
                    similar=len(self.similar), notes=self.notes, warnings=self.warnings)

    def to_text(self) -> str:
        """Return the report for a terminal."""
        lines = [f'{self.layout.root} ({self.layout.format}), {len(self.classes)} classes', '']
        names = list(self.splits)
        counts = [part.counts(len(self.classes)) for part in self.splits.values()]
        width = max(16, *(len(name) + 2 for name in self.classes))
        rows = [('images', [len(part.scanned) for part in self.splits.values()]),
                ('without boxes', [part.empty_images for part in self.splits.values()]),
                ('boxes', [int(count.sum()) for count in counts])]
        rows += [('  ' + name, [int(count[label]) for count in counts])
                 for label, name in enumerate(self.classes)]
        lines.append(' ' * width + ''.join(f'{name:>9}' for name in names))
        lines += [f'{label:<{width}}' + ''.join(f'{value:>9}' for value in values)
                  for label, values in rows]
        lines += ['', *(f'note: {note}' for note in self.notes),
                  *(f'WARNING: {warning}' for warning in self.warnings)]
        if not self.warnings:
            lines.append('nothing to warn of')
        return '\n'.join(lines)


def inspect_data(layout: DataLayout, occurring_only: bool = False) -> DataReport:
    """Look at all images and boxes of a data set.

    Where there is no validation part, one is divided from the training part
    (see :func:`~mmyolonas.datasets.splitting.split_off`).

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
    if 'val' not in layout.splits:
        notes.append(_divide(layout, scanned))
    classes = data_classes(layout.splits.values(), occurring_only)
    splits = {name: SplitReport(split, scanned[name], box_table(split, classes))
              for name, split in layout.splits.items()}
    report = DataReport(layout, classes, splits, notes=notes)
    report.similar, report.leaks = _similar(splits)
    report.warnings = [warning for check in checks.CHECKS for warning in check(report)]
    return report


def _divide(layout: DataLayout, scanned: Dict[str, List[ScannedImage]]) -> str:
    """Divide the training part in place; return the sentence that says so."""
    whole, files = layout.splits['train'], scanned['train']
    usable = [i for i, image in enumerate(files) if image.problem is None]
    similar = [[usable[i] for i in group] for group in similar_groups([files[i] for i in usable])]
    by_path = {image.path: image for image in files}
    train, val = split_off(whole, similar)
    layout.splits.update(train=train, val=val)
    layout.splits = {key: layout.splits[key] for key in ('train', 'val', 'test')
                     if key in layout.splits}
    for part in (train, val):
        scanned[part.name] = [by_path[path] for path in part.paths]
    return (f'there is no validation split: {len(val.paths)} of {len(files)} training images were '
            'set aside for it, chosen by their file names (the same ones every time; images that '
            'look alike stay together)')


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
