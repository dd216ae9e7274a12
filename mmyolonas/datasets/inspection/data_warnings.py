"""What a report on a data set warns of: one function each, sentences in plain words."""
from collections import Counter
from typing import Iterator, List

import numpy as np

from mmyolonas.datasets.formats.coco_checks import shorten
from mmyolonas.datasets.inspection.records import DataReport, SplitReport

_FEW_BOXES = 20  # of a class to train on
_FEW_IMAGES = 50
_FEW_VAL_IMAGES = 20
_RARE = 50  # times fewer boxes than the commonest class
_TINY = 0.0125  # of the longer side of an image: 8 pixels of 640


def unusable_images(report: DataReport) -> Iterator[str]:
    """Images that are missing or damaged."""
    for name, part in report.splits.items():
        bad = part.bad_images
        if bad:
            yield (f'{len(bad)} of {len(part.scanned)} images of {name} cannot be used; the '
                   f'first: {part.scanned[bad[0]].problem}')


def sizes(report: DataReport) -> Iterator[str]:
    """Images whose size is not what the annotations say."""
    for name, part in report.splits.items():
        real = [(i, image.size) for i, image in enumerate(part.scanned) if image.size]
        stated = part.sizes
        wrong = [i for i, size in real if tuple(stated[i]) != tuple(size)]
        if not wrong:
            continue
        turned = sum(tuple(stated[i]) == part.scanned[i].size[::-1] for i in wrong)
        first = part.scanned[wrong[0]]
        cause = ('they were turned (photographs carry their orientation in EXIF)'
                 if turned > len(wrong) / 2 else 'they were resized after labelling')
        yield (f'{len(wrong)} images of {name} are not of the size that the annotations say, for '
               f'example {first.path.name}: {first.size[0]}x{first.size[1]} instead of '
               f'{stated[wrong[0]][0]:.0f}x{stated[wrong[0]][1]:.0f}; their boxes do not fit if '
               + cause)


def crowds(report: DataReport) -> Iterator[str]:
    """Many boxes that training leaves out."""
    for name, part in report.splits.items():
        count = int(part.table.crowd.sum())
        if count > 0.1 * len(part.table.crowd):
            yield (f'{count} of {len(part.table.crowd)} boxes of {name} are marked iscrowd, which '
                   'training and scoring leave out (labelling tools mark brush masks so): set '
                   'iscrowd to 0 if they are single objects')


def box_problems(report: DataReport) -> Iterator[str]:
    """Boxes that were dropped or clipped."""
    for name, part in report.splits.items():
        total = len(part.split.data['annotations'])
        problems = part.table.problems
        for problem, count in problems.items():
            yield f'{count} of {total} boxes of {name} {problem}'
        if sum(problems.values()) > 0.25 * total >= 2:
            yield (f'so many boxes of {name} do not fit their images that all may be written '
                   'another way: COCO wants x, y of the upper left corner, width, height in '
                   'pixels of the images as they are; look at samples.png')


def class_names(report: DataReport) -> Iterator[str]:
    """Names that differ in case or white space only."""
    plain = Counter(' '.join(name.lower().replace('_', ' ').split()) for name in report.classes)
    for key, count in plain.items():
        if count > 1:
            alike = [name for name in report.classes
                     if ' '.join(name.lower().replace('_', ' ').split()) == key]
            yield (f'the classes {shorten(alike)} differ only in capitals, spaces or underscores: '
                   'are they the same?')


def class_counts(report: DataReport) -> Iterator[str]:
    """Classes with no or few boxes."""
    counts = report.splits['train'].counts(len(report.classes))
    none = [name for name, count in zip(report.classes, counts) if count == 0]
    few = [f'{name} ({count})' for name, count in zip(report.classes, counts)
           if 0 < count < _FEW_BOXES]
    if none:
        yield (f'no box to train on for {shorten(none)}: the model cannot learn '
               f'{"it" if len(none) == 1 else "them"}')
    if few:
        yield (f'fewer than {_FEW_BOXES} boxes to train on for {shorten(few)}: expect poor scores '
               'there, label more')
    rare = [f'{name} ({count})' for name, count in zip(report.classes, counts)
            if _FEW_BOXES <= count < counts.max() / _RARE]
    if rare:
        yield f'{shorten(rare)} have over {_RARE} times fewer boxes than the commonest class'
    for name, part in report.splits.items():
        absent = [label for label, count in zip(report.classes, part.counts(len(report.classes)))
                  if count == 0 and label not in none]
        if name != 'train' and absent:
            yield f'{name} has no box of {shorten(absent)}: nothing is measured there'


def few_images(report: DataReport) -> Iterator[str]:
    """Too few images to learn from or to measure on."""
    count = len(report.splits['train'].scanned)
    if count < _FEW_IMAGES:
        yield (f'only {count} images to train on: good results need some hundred, or weights to '
               'start from (--pretrained)')
    count = len(report.splits['val'].scanned)
    if count < _FEW_VAL_IMAGES:
        yield f'only {count} images to validate on: the scores will be rough'


def empty_images(report: DataReport) -> Iterator[str]:
    """Many images without boxes."""
    for name, part in report.splits.items():
        if part.empty_images > 0.3 * len(part.scanned):
            yield (f'{part.empty_images} of {len(part.scanned)} images of {name} have no boxes: is '
                   'the labelling complete? Unlabelled objects teach the model not to find them')


def leaks(report: DataReport) -> Iterator[str]:
    """The same image in several parts."""
    pairs = Counter(tuple(sorted({name for name, _ in group})) for group in report.leaks)
    for names, count in sorted(pairs.items()):
        group = next(group for group in report.leaks
                     if tuple(sorted({name for name, _ in group})) == names)
        files = {name: report.splits[name].scanned[index].path.name for name, index in group}
        shown = ' and '.join(f'{name}/{file}' for name, file in sorted(files.items()))
        yield (f'leak: {count} images are in {" and in ".join(names)} (the same, or look the '
               f'same, for example {shown}): the scores will be too good')


def series(report: DataReport) -> Iterator[str]:
    """Images of a fixed camera on both sides."""
    if report.series:
        yield (f'{report.series} images look alike, as of a fixed camera, a film or a burst: of '
               'each series a block (by time or name) validates and the rest trains, so the scores '
               'are of this scene and too good for another; for those label images of another '
               'time or place as a validation split')


def duplicates(report: DataReport) -> Iterator[str]:
    """The same image several times in one part."""
    for name in report.splits:
        groups = [[index for split, index in group if split == name] for group in report.similar]
        groups = [group for group in groups if len(group) > 1]
        extra = sum(len(group) - 1 for group in groups)
        if extra:
            files = [report.splits[name].scanned[index].path.name for index in groups[0][:2]]
            yield (f'{extra} images of {name} look the same as another one (for example '
                   f'{" and ".join(files)}): little is learnt from them')


def tiny_objects(report: DataReport) -> Iterator[str]:
    """Objects that shrink to a few pixels."""
    part = report.splits['train']
    share = relative_sides(part)
    tiny = (share < _TINY).mean() if len(share) else 0
    if tiny > 0.1:
        yield (f'{100 * tiny:.0f} % of the boxes are smaller than {100 * _TINY:.1f} % of their '
               "image's longer side (8 pixels of 640): train with a larger --imgsz, or cut the "
               'images into tiles')


def relative_sides(part: SplitReport) -> np.ndarray:
    """Return the square root of each box's area over its image's longer side."""
    boxes = part.table.boxes
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.sqrt(area) / part.sizes[part.table.images].max(1, initial=1)


def whole_image_boxes(report: DataReport) -> Iterator[str]:
    """Boxes that are labels of whole images."""
    part = report.splits['train']
    boxes = part.table.boxes
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    share = (area > 0.95 * part.sizes[part.table.images].prod(1)).mean() if len(boxes) else 0
    if share > 0.2:
        yield (f'{100 * share:.0f} % of the boxes cover their whole image: are these labels of '
               'images rather than of objects?')


def boxes_drawn_twice(report: DataReport) -> Iterator[str]:
    """Boxes of a class at the same place."""
    for name, part in report.splits.items():
        table = part.table
        place = np.column_stack([table.images, table.labels, np.round(table.boxes)])
        double = len(place) - len(np.unique(place, axis=0)) if len(place) else 0
        if double:
            yield (f'{double} boxes of {name} are drawn twice (same class, same place): remove '
                   'one of each')


CHECKS: List = [
    unusable_images, sizes, box_problems, crowds, class_names, class_counts, few_images,
    empty_images, leaks, series, duplicates, tiny_objects, whole_image_boxes, boxes_drawn_twice,
]
