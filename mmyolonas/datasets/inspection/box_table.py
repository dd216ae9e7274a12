"""All boxes of one part of a data set as arrays."""
from dataclasses import dataclass
from typing import Dict, Sequence

import numpy as np

from mmyolonas.datasets.formats.box_causes import check_boxes, check_ignored
from mmyolonas.datasets.formats.coco_checks import box_array, clean_boxes, map_categories
from mmyolonas.datasets.formats.coco_split import CocoSplit


@dataclass
class BoxTable:
    """The usable boxes of a part, M of them.

    Attributes:
        boxes (ndarray): (M, 4) float64 xyxy in pixels, clipped to the image.
        labels (ndarray): (M,) int64, indices into the class names.
        images (ndarray): (M,) int64, indices into ``data['images']``.
        crowd (ndarray): (M,) bool.
        sources (ndarray): (M,) int64, indices into ``data['annotations']``.
        problems (dict[str, int]): Sentence part -> number of boxes.
    """
    boxes: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    crowd: np.ndarray
    sources: np.ndarray
    problems: Dict[str, int]

    def of_image(self, index: int) -> np.ndarray:
        """Return the numbers of the boxes of an image."""
        return np.flatnonzero(self.images == index)


def box_table(split: CocoSplit, classes: Sequence[str]) -> BoxTable:
    """Return the boxes of a part, checked.

    Args:
        split (CocoSplit): The part.
        classes (Sequence[str]): Class names, label 0 first; those that the part
            does not have are allowed.

    Raises:
        DataError: A box is not four numbers or has an unknown category, or not one
            can be used.
    """
    name = str(split.ann_file or split.images)
    data = split.data
    labels = map_categories(data, classes, name, strict=False).labels
    index = {image['id']: number for number, image in enumerate(data['images'])}
    orphans, ignored, chosen = 0, 0, []
    for number, annotation in enumerate(data['annotations']):
        if annotation['image_id'] not in index:
            orphans += 1
        elif annotation['category_id'] in labels:
            if annotation.get('ignore'):
                ignored += 1
            else:
                chosen.append(number)
    check_ignored(ignored, len(chosen), name)
    annotations = [data['annotations'][number] for number in chosen]
    images = np.array([index[a['image_id']] for a in annotations], np.int64)
    sizes = np.array([(i['width'], i['height']) for i in data['images']], float).reshape(-1, 2)
    boxes = box_array(annotations, name)
    checked = clean_boxes(boxes, sizes[images])
    check_boxes(boxes, sizes[images], annotations, checked.keep, name)
    problems = dict(checked.problems)
    if orphans:
        problems['belong to an image that is not in the file and were dropped'] = orphans
    if ignored:
        problems['are marked ignore and were dropped'] = ignored
    keep = checked.keep
    return BoxTable(
        checked.boxes[keep],
        np.array([labels[a['category_id']] for a in annotations], np.int64)[keep],
        images[keep],
        np.array([bool(a.get('iscrowd')) for a in annotations], bool)[keep],
        np.array(chosen, np.int64)[keep],
        problems)


def cleaned_split(split: CocoSplit, table: BoxTable, classes: Sequence[str],
                  drop: Sequence[int] = ()) -> CocoSplit:
    """Return a part with the boxes of its table alone, and without some images.

    Args:
        split (CocoSplit): The part; it is not changed.
        table (BoxTable): Its boxes.
        classes (Sequence[str]): Class names; their categories get the ids 1, 2, ...
        drop (Sequence[int]): Indices of images to leave out.

    Returns:
        CocoSplit: In memory, to be written.
    """
    gone = set(drop)
    images = [image for number, image in enumerate(split.data['images']) if number not in gone]
    annotations = []
    for number in np.flatnonzero(~np.isin(table.images, list(gone))):
        source = split.data['annotations'][table.sources[number]]
        x1, y1, x2, y2 = (round(float(value), 3) for value in table.boxes[number])
        annotations.append({
            **source, 'id': len(annotations) + 1, 'category_id': int(table.labels[number]) + 1,
            'bbox': [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
            'area': source.get('area', (x2 - x1) * (y2 - y1)),
            'iscrowd': int(table.crowd[number])})
    categories = [dict(id=number, name=name) for number, name in enumerate(classes, 1)]
    return CocoSplit(split.name, split.images,
                     dict(images=images, annotations=annotations, categories=categories))
