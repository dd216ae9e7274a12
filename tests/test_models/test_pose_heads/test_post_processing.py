"""Selection of poses against a plain loop and hand-made cases."""
import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mmyolonas.models.pose_heads import select_poses


def predictions(images=3, priors=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, priors, 2, generator=generator) * 100
    sides = 20 + torch.rand(images, priors, 2, generator=generator) * 40
    scores = torch.rand(images, priors, 1, generator=generator)
    keypoints = torch.rand(images, priors, 4, 2, generator=generator)
    return (torch.cat([corner, corner + sides], -1), scores, keypoints,
            torch.rand(images, priors, 4, generator=generator))


def by_loop(boxes, scores, score_thr, nms_thr, nms_pre, max_per_img):
    """Greedy suppression, one candidate after the other; returns indices."""
    order = [int(i) for i in scores.argsort(descending=True)[:nms_pre] if scores[i] >= score_thr]
    kept = []
    for index in order:
        overlaps = box_iou(boxes[index:index + 1], boxes[kept]) if kept else torch.zeros(1)
        if overlaps.max() <= nms_thr:
            kept.append(index)
    return kept[:max_per_img]


@pytest.mark.parametrize('options', [
    dict(score_thr=0.01, nms_thr=0.7, nms_pre=300, max_per_img=30),
    dict(score_thr=0.5, nms_thr=0.3, nms_pre=50, max_per_img=100),
    dict(score_thr=0.9, nms_thr=0.1, nms_pre=200, max_per_img=3),
])
def test_equals_a_loop(options):
    boxes, scores, keypoints, keypoint_scores = predictions()
    results = select_poses(boxes, scores, keypoints, keypoint_scores, **options)
    assert len(results) == 3
    for image, result in enumerate(results):
        kept = by_loop(boxes[image], scores[image, :, 0], **options)
        assert kept
        np.testing.assert_array_equal(result.bboxes, boxes[image, kept])
        np.testing.assert_array_equal(result.scores, scores[image, kept, 0])
        np.testing.assert_array_equal(result.bbox_scores, result.scores)
        np.testing.assert_array_equal(result.keypoints, keypoints[image, kept])
        np.testing.assert_array_equal(result.keypoint_scores, keypoint_scores[image, kept])
        np.testing.assert_array_equal(result.keypoints_visible, result.keypoint_scores)


def test_threshold_is_inclusive_and_images_differ():
    boxes, scores, keypoints, keypoint_scores = predictions(images=2, priors=3)
    boxes = torch.tensor([[0., 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]]).expand(2, 3, 4)
    scores = torch.tensor([[0.2, 0.5, 0.49], [0.1, 0.1, 0.1]])
    results = select_poses(boxes, scores, keypoints, keypoint_scores, score_thr=0.49)
    assert results[0].scores.tolist() == pytest.approx([0.5, 0.49])
    assert len(results[1]) == 0 and results[1].keypoints.shape == (0, 4, 2)
    everything = select_poses(boxes, scores, keypoints, keypoint_scores, score_thr=0.0)
    assert [len(result) for result in everything] == [3, 3]


def test_suppression_can_be_switched_off():
    boxes, scores, keypoints, keypoint_scores = predictions(images=1, priors=5)
    boxes = boxes[:, :1].expand(1, 5, 4)
    kept = select_poses(boxes, scores, keypoints, keypoint_scores, score_thr=0.)
    assert len(kept[0]) == 1
    kept = select_poses(boxes, scores, keypoints, keypoint_scores, score_thr=0., nms_thr=1.)
    assert len(kept[0]) == 5
