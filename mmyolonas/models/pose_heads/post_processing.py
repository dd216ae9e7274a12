"""From the predictions of every prior to a list of poses."""
from typing import List

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import nms

from mmyolonas.models.utils import warn_of_nan


@torch.no_grad()
def select_poses(boxes: Tensor,
                 scores: Tensor,
                 keypoints: Tensor,
                 keypoint_scores: Tensor,
                 score_thr: float = 0.01,
                 nms_thr: float = 0.7,
                 nms_pre: int = 300,
                 max_per_img: int = 30) -> List[InstanceData]:
    """Keep the best poses of each image (reference.md 5.2).

    Candidates are the ``nms_pre`` best priors with a score of at least
    ``score_thr``; suppression looks at the boxes and takes the poses along.

    Args:
        boxes (Tensor): Shape (B, L, 4), xyxy in pixels.
        scores (Tensor): Shape (B, L, 1) or (B, L), within [0, 1].
        keypoints (Tensor): Shape (B, L, K, 2) in pixels.
        keypoint_scores (Tensor): Shape (B, L, K), within [0, 1].
        score_thr (float): Smallest score of a pose. Defaults to 0.01.
        nms_thr (float): Boxes overlapping a better one by more than this IoU
            are dropped; 1 or more keeps all. Defaults to 0.7.
        nms_pre (int): Candidates before suppression. Defaults to 300.
        max_per_img (int): Poses after it. Defaults to 30.

    Returns:
        list[InstanceData]: Per image, numpy arrays in descending order of score:
        ``bboxes`` (N, 4), ``scores`` and ``bbox_scores`` (N,), ``labels`` (N,),
        ``keypoints`` (N, K, 2), ``keypoint_scores`` and ``keypoints_visible``
        (N, K).
    """
    scores = scores.float().reshape(boxes.shape[:2])
    warn_of_nan(scores, boxes)
    # neither boxes without area nor what is not a number
    sound = (boxes[..., 2:] > boxes[..., :2]).all(dim=2) & (scores >= score_thr)
    scores = torch.where(sound, scores, -torch.ones_like(scores))
    scores, order = scores.topk(min(nms_pre, scores.shape[1]), dim=1)  # (B, P), sorted
    images = torch.arange(len(scores), device=scores.device)[:, None]
    candidates = boxes[images, order].float()
    # scores are sorted, so those above the threshold come first
    counts = (scores >= max(score_thr, 0)).sum(dim=1).tolist()
    kept = []
    for image, count in enumerate(counts):
        keep = torch.arange(count, device=scores.device)
        if nms_thr < 1 and count:
            keep = nms(candidates[image, :count], scores[image, :count], nms_thr)
        kept.append(keep[:max_per_img])
    numbers = [len(keep) for keep in kept]
    rank = torch.cat(kept)
    image = torch.repeat_interleave(
        torch.arange(len(kept)), torch.tensor(numbers)).to(scores.device)
    prior = order[image, rank]
    fields = (candidates[image, rank], scores[image, rank], keypoints[image, prior].float(),
              keypoint_scores[image, prior].float())
    # one transfer for the batch, then a view for each image
    columns = [field.cpu().split(numbers) for field in fields]
    return [_instances(*row) for row in zip(*columns)]


def _instances(boxes: Tensor, scores: Tensor, keypoints: Tensor,
               keypoint_scores: Tensor) -> InstanceData:
    results = InstanceData()
    results.bboxes = boxes.numpy()
    results.scores = scores.numpy()
    results.bbox_scores = results.scores
    results.labels = torch.zeros(len(scores), dtype=torch.long).numpy()
    results.keypoints = keypoints.numpy()
    results.keypoint_scores = keypoint_scores.numpy()
    results.keypoints_visible = results.keypoint_scores
    return results
