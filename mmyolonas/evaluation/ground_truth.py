"""Annotation files as pycocotools needs them."""
from collections import Counter
from typing import List, Sequence

_COCO_DETECTIONS = 100


def max_detections(annotations: Sequence[dict]) -> int:
    """Return how many detections of a class in an image have to count.

    COCO counts 100, which caps the score where there are more objects.

    Args:
        annotations (Sequence[dict]): With ``image_id`` and ``category_id``.

    Returns:
        int: The most objects of a class in an image, at least 100.
    """
    counts = Counter((a['image_id'], a['category_id']) for a in annotations)
    return max(_COCO_DETECTIONS, max(counts.values(), default=0))


def complete_annotations(annotations: List[dict]) -> None:
    """Number annotations from 1, and fill in what exports leave out.

    pycocotools takes a ground truth with the annotation id 0 for "no match", so
    it counts a hit on it as a mistake; exports of Roboflow begin at 0. A missing
    ``iscrowd`` is 0, a missing ``area`` that of the box, or 0.53 of it for a
    pose (what the original assumes of a person), a missing ``num_keypoints``
    the number of those that are labelled.

    Args:
        annotations (list[dict]): With ``bbox`` xywh; changed in place.
    """
    for number, annotation in enumerate(annotations, 1):
        annotation['id'] = number
        annotation.setdefault('iscrowd', 0)
        width, height = annotation['bbox'][2:]
        is_pose = 'keypoints' in annotation
        annotation.setdefault('area', (0.53 if is_pose else 1) * width * height)
        if is_pose:
            annotation.setdefault(
                'num_keypoints', sum(seen > 0 for seen in annotation['keypoints'][2::3]))
