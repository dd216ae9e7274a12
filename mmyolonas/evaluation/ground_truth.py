"""Annotation files as pycocotools needs them."""
from typing import List


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
