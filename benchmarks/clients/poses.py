"""mmpose's inferencers on a pose model: rows x1, y1, x2, y2, score, then x, y of key points."""
from typing import Any, Dict, List

import numpy as np

Poses = List[List[List[float]]]


def _rows(items: List[Dict[str, Any]]) -> List[List[float]]:
    return [[*np.ravel(item['bbox'][0]).tolist(), float(np.ravel(item['bbox_score'])[0]),
             *np.ravel(item['keypoints']).tolist()] for item in items]


def inferencer(job: Dict[str, Any]) -> Poses:
    """``MMPoseInferencer``, with no threshold of the caller's."""
    from mmpose.apis import MMPoseInferencer

    client = MMPoseInferencer(pose2d=job['config'], pose2d_weights=job['checkpoint'],
                              device='cpu', show_progress=False)
    return [_rows(next(client(image))['predictions'][0]) for image in job['images']]


def pose2d(job: Dict[str, Any]) -> Poses:
    """``Pose2DInferencer``."""
    from mmpose.apis import Pose2DInferencer

    client = Pose2DInferencer(job['config'], job['checkpoint'], device='cpu', show_progress=False)
    return [_rows(next(client(image))['predictions'][0]) for image in job['images']]


def bottomup(job: Dict[str, Any]) -> Poses:
    """``init_model`` and ``inference_bottomup``."""
    from mmpose.apis import inference_bottomup, init_model

    model = init_model(job['config'], job['checkpoint'], device='cpu')
    found = []
    for image in job['images']:
        item = inference_bottomup(model, image)[0].pred_instances
        found.append([[*map(float, box), float(score), *np.ravel(points).tolist()]
                      for box, score, points in zip(
                          item.bboxes, item.bbox_scores, item.keypoints)])
    return found
