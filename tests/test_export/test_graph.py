"""Suppression inside the graph against a plain loop, and against numpy's."""
import numpy as np
import pytest
import torch

from mmyolonas.export.graph import Candidates, EfficientNMS, PaddedNMS
from mmyolonas.export.graph.candidates import Expectation
from mmyolonas.export.graph.nms import clip_boxes
from mmyolonas.export.metadata import Postprocess
from mmyolonas.models.utils import integral
from mmyolonas.runtime.numpy_ops import suppress


def candidates(batch=2, priors=60, classes=3, seed=0):
    """Return overlapping boxes with distinct scores."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(20, 80, (batch, priors, 2))
    side = rng.uniform(10, 40, (batch, priors, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 2).astype(np.float32)
    scores = rng.permutation(batch * priors * classes).reshape(batch, priors, classes)
    scores = ((scores + 1) / (batch * priors * classes + 1)).astype(np.float32)
    return Candidates(torch.from_numpy(boxes), torch.from_numpy(scores))


def iou(a, b):
    """Return the IoU of two boxes."""
    width = max(0., min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0., min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def by_hand(boxes, scores, rules):
    """Return the rows (prior, class) that a plain loop keeps."""
    pairs = [(scores[p, c], p, c) for p in range(len(scores)) for c in range(scores.shape[1])]
    if not rules.multi_label:
        pairs = [max(row, key=lambda pair: pair[0]) for row in
                 (pairs[i:i + scores.shape[1]] for i in range(0, len(pairs), scores.shape[1]))]
    pairs = sorted((pair for pair in pairs if pair[0] > rules.score_threshold), reverse=True)
    kept = []
    for _, prior, label in pairs[:rules.pre_top_k]:
        if all(iou(boxes[prior], boxes[other]) <= rules.iou_threshold
               for other, other_label in kept
               if rules.class_agnostic or label == other_label):
            kept.append((prior, label))
    return kept[:rules.max_detections]


@pytest.mark.parametrize('rules', [
    Postprocess(score_threshold=0.3, iou_threshold=0.5),
    Postprocess(score_threshold=0.3, iou_threshold=0.5, class_agnostic=True),
    Postprocess(score_threshold=0.3, iou_threshold=0.5, multi_label=False),
    Postprocess(score_threshold=0.0, iou_threshold=0.3, pre_top_k=25, max_detections=7),
])
def test_graph_numpy_and_hand_agree(rules):
    found = candidates()
    # the decoder hands over the best priors, sorted
    order = found.scores.amax(2).argsort(1, descending=True)
    boxes = found.boxes.gather(1, order[..., None].expand(-1, -1, 4))
    scores = found.scores.gather(1, order[..., None].expand(-1, -1, 3))
    dets, labels = PaddedNMS(rules)(Candidates(boxes, scores))
    for index in range(2):
        expected = by_hand(boxes[index].numpy(), scores[index].numpy(), rules)
        count = int((dets[index, :, 4] > 0).sum())
        assert count == len(expected) > 0
        for row, (prior, label) in enumerate(expected):
            assert torch.equal(dets[index, row, :4], boxes[index, prior])
            assert dets[index, row, 4] == scores[index, prior, label]
            assert labels[index, row] == label
        box, score, label, prior = suppress(
            found.boxes[index].numpy(), found.scores[index].numpy(), rules)
        assert np.array_equal(np.c_[box, score], dets[index, :count].numpy())
        assert np.array_equal(label, labels[index, :count].numpy())
        assert np.array_equal(order[index].numpy()[[p for p, _ in expected]], prior)


def test_class_agnostic_drops_across_classes():
    boxes = torch.tensor([[[0., 0, 10, 10], [0, 0, 10, 9]]])
    scores = torch.tensor([[[0.9, 0.1], [0.1, 0.8]]])
    rules = Postprocess(score_threshold=0.5)
    dets, labels = PaddedNMS(rules)(Candidates(boxes, scores))
    assert labels.tolist() == [[0, 1, -1, -1]]
    rules.class_agnostic = True
    dets, labels = PaddedNMS(rules)(Candidates(boxes, scores))
    assert labels.tolist() == [[0, -1, -1, -1]] and dets[0, 1:].abs().sum() == 0


def test_key_points_follow_their_boxes():
    found = candidates(classes=1)
    order = found.scores.amax(2).argsort(1, descending=True)
    boxes = found.boxes.gather(1, order[..., None].expand(-1, -1, 4))
    scores = found.scores.gather(1, order[..., None])
    points = boxes[:, :, :2, None].expand(-1, -1, -1, 2) + torch.arange(2.)
    confidence = scores.expand(-1, -1, 2)
    rules = Postprocess(score_threshold=0.3, iou_threshold=0.5, max_detections=10)
    dets, keypoints = PaddedNMS(rules)(Candidates(boxes, scores, points, confidence))
    kept = dets[..., 4] > 0
    assert kept.sum() > 5
    assert torch.equal(keypoints[kept][:, 0, 0], dets[kept][:, 0])
    assert torch.equal(keypoints[kept][:, 1, 1], dets[kept][:, 1] + 1)
    assert torch.equal(keypoints[kept][:, 0, 2], dets[kept][:, 4])


def test_efficient_nms_stand_in_agrees_with_padded():
    found = candidates()
    rules = Postprocess(score_threshold=0.3, iou_threshold=0.5, max_detections=12)
    counts, boxes, scores, labels = EfficientNMS(rules)(found)
    for index in range(2):
        box, score, label, _ = suppress(
            found.boxes[index].numpy(), found.scores[index].numpy(), rules)
        assert counts[index] == len(box)
        assert np.array_equal(boxes[index, :len(box)].numpy(), box)
        assert np.array_equal(scores[index, :len(box)].numpy(), score)
        assert np.array_equal(labels[index, :len(box)].numpy(), label)


def test_expectation_is_the_models_integral():
    logits = torch.randn(2, 68, 5, 4) * 30  # large ones must not overflow
    expected = integral(logits, 16).flatten(2)
    assert torch.allclose(Expectation(16)(logits.flatten(2)), expected, atol=2e-5)


def test_boxes_are_clipped_to_width_and_height():
    boxes = torch.tensor([[[-3., -4, 200, 300]]])
    assert clip_boxes(boxes, 60, 90).tolist() == [[[0, 0, 90, 60]]]
    assert clip_boxes(boxes, torch.tensor(60), torch.tensor(90)).tolist() == [[[0, 0, 90, 60]]]
    rules = Postprocess(score_threshold=0.5)
    box, *_ = suppress(boxes[0].numpy(), np.ones((1, 1), np.float32), rules, (90, 60))
    assert box.tolist() == [[0, 0, 90, 60]]
