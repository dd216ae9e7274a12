"""What was found in a data set, as values and as text."""
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.layouts import DataLayout
from mmyolonas.datasets.inspection.box_table import BoxTable
from mmyolonas.datasets.inspection.image_scan import ScannedImage
from mmyolonas.utils.names import printable

if TYPE_CHECKING:
    from mmyolonas.datasets.inspection.upright import Uprightness


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
        series (int): Images that look alike, as of a fixed camera, and had to be
            divided between training and validation.
        upright (Uprightness, optional): Whether the training objects have a top and a
            bottom.
        notes (list[str]): What was decided, in sentences.
        warnings (list[str]): What should be looked at, in sentences.
    """
    layout: DataLayout
    classes: Tuple[str, ...]
    splits: Dict[str, SplitReport]
    similar: List[List[Tuple[str, int]]] = field(default_factory=list)
    leaks: List[List[Tuple[str, int]]] = field(default_factory=list)
    series: int = 0
    upright: Optional['Uprightness'] = None
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
        lines = [f'{printable(self.layout.root)} ({self.layout.format}), '
                 f'{len(self.classes)} classes', '']
        names = list(self.splits)
        counts = [part.counts(len(self.classes)) for part in self.splits.values()]
        classes = [name if len(name) < 60 else f'{name[:57]}...'
                   for name in map(printable, self.classes)]
        width = max(16, *(len(name) + 2 for name in classes))
        rows = [('images', [len(part.scanned) for part in self.splits.values()]),
                ('without boxes', [part.empty_images for part in self.splits.values()]),
                ('boxes', [int(count.sum()) for count in counts])]
        rows += [('  ' + name, [int(count[label]) for count in counts])
                 for label, name in enumerate(classes)]
        lines.append(' ' * width + ''.join(f'{name:>9}' for name in names))
        lines += [f'{label:<{width}}' + ''.join(f'{value:>9}' for value in values)
                  for label, values in rows]
        lines += ['', *(f'note: {printable(note)}' for note in self.notes),
                  *(f'WARNING: {printable(warning)}' for warning in self.warnings)]
        if not self.warnings:
            lines.append('nothing to warn of')
        return '\n'.join(lines)
