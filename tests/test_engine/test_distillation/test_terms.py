"""The terms of distillation against loops over priors, and the schedule."""
import pytest
import torch
import torch.nn.functional as F

from mmyolonas.engine.distillation import (
    DistillationSchedule,
    DistillationTerms,
    StudentOutputs,
    TeacherOutputs,
    TermSettings,
)
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.pose_heads import YOLONASPoseHead

SIZES = ((4, 4), (2, 2), (1, 1))
PRIORS = 21


def maps(channels: int) -> list:
    return [torch.randn(2, channels, *size) for size in SIZES]


def rows(values: list) -> torch.Tensor:
    return torch.cat([x.flatten(2).transpose(1, 2) for x in values], dim=1)


def detection():
    torch.manual_seed(1)
    head = YOLONASHead(3, in_channels=(4, ) * 3, feat_channels=(4, ) * 3)
    student = StudentOutputs(maps(3), maps(68))
    teacher = TeacherOutputs(
        torch.rand(2, PRIORS, 3) * 0.5, torch.rand(2, PRIORS, 4).cumsum(-1) * 10, maps(68))
    return head, student, teacher


def priors():
    for (height, width), stride in zip(SIZES, (8, 16, 32)):
        for y in range(height):
            for x in range(width):
                yield stride * (x + 0.5), stride * (y + 0.5), stride


@pytest.mark.parametrize('options', [
    {}, dict(power=2.0, threshold=0.3, background=0.25, gamma=1.0, temperature=4.0)])
def test_detection_terms(options):
    head, student, teacher = detection()
    settings = TermSettings(weights=dict(cls=2.0, dfl=3.0), **options)
    terms = DistillationTerms(head, settings)(student, teacher)
    logits, dists, target = (rows(x) for x in (student.cls_scores, student.bbox_dists,
                                               teacher.bbox_dists))
    expected, total = dict(cls=0.0, dfl=0.0), 0.0
    for image in range(2):
        for prior in range(PRIORS):
            score = teacher.scores[image, prior]
            weight = float(score.max())
            weight = weight**settings.power if weight >= settings.threshold else 0
            total += weight
            z = logits[image, prior]
            entropy = -(score * F.logsigmoid(z) + (1 - score) * F.logsigmoid(-z))
            loss = ((z.sigmoid() - score).abs()**settings.gamma * entropy).sum()
            expected['cls'] += loss * (settings.background + (1 - settings.background) * weight)
            t = settings.temperature
            p = (target[image, prior].view(4, 17) / t).softmax(-1)
            q = (dists[image, prior].view(4, 17) / t).softmax(-1)
            expected['dfl'] += weight * (p * (p / q).log()).sum(-1).mean() * t**2
    assert set(terms) == {'loss_kd_cls', 'loss_kd_dfl'}
    torch.testing.assert_close(terms['loss_kd_cls'], 2 * expected['cls'] / total)
    # relative to the weight 0.5 of the head's own loss
    torch.testing.assert_close(terms['loss_kd_dfl'], 3 * 0.5 * expected['dfl'] / total)


def test_boxes_where_distributions_do_not_compare():
    """CIoU against torchvision's, with the weight of the head's box loss."""
    from torchvision.ops import complete_box_iou_loss
    head, student, teacher = detection()
    teacher.bbox_dists = None
    terms = DistillationTerms(head, TermSettings(weights=dict(dfl=1.0)))(student, teacher)
    dists = rows(student.bbox_dists)
    expected = total = 0.0
    for image in range(2):
        for index, (x, y, stride) in enumerate(priors()):
            weight = float(teacher.scores[image, index].max())
            weight = weight if weight >= 0.05 else 0
            total += weight
            left, top, right, bottom = (
                dists[image, index].view(4, 17).softmax(-1) * torch.arange(17)).sum(-1) * stride
            box = torch.stack([x - left, y - top, x + right, y + bottom])
            expected += weight * complete_box_iou_loss(box, teacher.boxes[image, index])
    torch.testing.assert_close(terms['loss_kd_dfl'], 2.5 * expected / total, rtol=1e-4, atol=1e-5)


def test_pose_terms():
    torch.manual_seed(2)
    head = YOLONASPoseHead(
        2, in_channels=(4, ) * 3, feat_channels=4, pose_channels=4, num_pose_convs=1,
        arch='n', sigmas=[0.1, 0.2])
    student = StudentOutputs(maps(1), maps(68), maps(4), maps(2))
    teacher = TeacherOutputs(
        torch.rand(2, PRIORS, 1), torch.rand(2, PRIORS, 4).cumsum(-1) * 10, maps(68),
        torch.rand(2, PRIORS, 2, 2) * 20, torch.rand(2, PRIORS, 2))
    weights = dict(kpt=1.0, kpt_score=1.0)
    terms = DistillationTerms(head, TermSettings(weights=weights))(student, teacher)
    offsets, logits = rows(student.kpt_offsets), rows(student.kpt_scores)
    points = scores = total = 0.0
    for image in range(2):
        for index, (x, y, stride) in enumerate(priors()):
            weight = float(teacher.scores[image, index])
            weight = weight if weight >= 0.05 else 0
            total += weight
            x1, y1, x2, y2 = teacher.boxes[image, index]
            area = 0.53 * (x2 - x1) * (y2 - y1)
            seen = teacher.keypoint_scores[image, index]
            corner = torch.tensor([x - stride / 2, y - stride / 2])
            found = offsets[image, index].view(2, 2) * stride + corner
            square = (found - teacher.keypoints[image, index]).square().sum(-1)
            error = square / (2 * torch.tensor([0.1, 0.2]))**2 / area / 2
            points += weight * (seen * (1 - torch.exp(-error))).sum() / seen.sum()
            z = logits[image, index]
            entropy = -(seen * F.logsigmoid(z) + (1 - seen) * F.logsigmoid(-z))
            scores += weight * ((z.sigmoid() - seen)**2 * entropy).mean()
    torch.testing.assert_close(terms['loss_kd_kpt'], 34 * points / total)
    torch.testing.assert_close(terms['loss_kd_kpt_score'], scores / total)


def test_no_confident_prior():
    """Finite, with gradient, and nothing to learn but the background."""
    head, student, teacher = detection()
    student.cls_scores = [x.requires_grad_() for x in student.cls_scores]
    teacher.scores = teacher.scores * 0
    terms = DistillationTerms(head, TermSettings(weights=dict(cls=1.0, dfl=1.0)))(student, teacher)
    assert terms['loss_kd_dfl'] == 0 and terms['loss_kd_cls'] > 0
    sum(terms.values()).backward()
    assert all((x.grad > 0).all() for x in student.cls_scores)


@pytest.mark.parametrize('arguments, expected', [
    (dict(), {0: 1, 5: 1, 9.99: 1, 10: 0}),
    (dict(begin=2, end=8), {1.9: 0, 2: 1, 7.9: 1, 8: 0}),
    (dict(begin=2, warmup=2), {2: 0, 3: 0.5, 4: 1, 9: 1}),
    (dict(warmup=2, decay='linear'), {1: 0.5, 2: 1, 6: 0.5, 8: 0.25}),
    (dict(end=8, decay='cosine', final=0.2), {0: 1, 4: 0.6, 8: 0}),
])
def test_schedule(arguments, expected):
    schedule = DistillationSchedule(**arguments)
    assert {at: schedule.factor(at, 10) for at in expected} == pytest.approx(expected)


def test_schedule_bad_arguments():
    with pytest.raises(ValueError, match='unknown decay'):
        DistillationSchedule(decay='exp')
    with pytest.raises(ValueError, match='begin=4, warmup=3, end=6'):
        DistillationSchedule(begin=4, warmup=3, end=6)
