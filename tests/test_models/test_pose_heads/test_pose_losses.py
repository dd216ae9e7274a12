"""Pose losses against torchvision, formulas written out, and hand-made cases."""
import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import complete_box_iou_loss, sigmoid_focal_loss

from mmyolonas.models.losses import (
    AlignedFocalLoss,
    CIoULoss,
    KeypointConfidenceLoss,
    KeypointOKSLoss,
)
from mmyolonas.models.losses.pose_functional import aligned_focal_loss, ciou_loss, oks_loss
from mmyolonas.models.utils import decode_keypoints, oks


def random_boxes(number, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 50
    return torch.cat([corner, corner + 1 + torch.rand(number, 2, generator=generator) * 40], 1)


def test_ciou_is_torchvisions():
    pred = random_boxes(200, 0).double().requires_grad_()
    target = random_boxes(200, 1).double()
    ours, theirs = ciou_loss(pred, target), complete_box_iou_loss(pred, target, eps=1e-10)
    torch.testing.assert_close(ours, theirs)
    assert (ours > 1).any()  # boxes apart are among them
    grad, expected = (torch.autograd.grad(x.sum(), pred)[0] for x in (ours, theirs))
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-9)


def test_ciou_by_hand_below_an_iou_of_one_half():
    """A 10 x 10 box against a 10 x 40 one: the aspect term is active."""
    pred, target = torch.tensor([[0., 0, 10, 10]]), torch.tensor([[0., 0, 10, 40]])
    iou = 0.25
    v = 4 / math.pi**2 * (math.atan(0.25) - math.atan(1))**2
    expected = 1 - iou + 15**2 / (10**2 + 40**2) + v * v / (1 - iou + v)
    assert ciou_loss(pred, target).item() == pytest.approx(expected, rel=1e-6)


def test_ciou_of_a_collapsed_box_is_finite():
    pred = torch.tensor([[5., 5, 5, 5], [5., 5, 9, 5]], requires_grad=True)
    loss = ciou_loss(pred, torch.tensor([[0., 0, 10, 10]] * 2))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(pred.grad).all()


def test_ciou_module():
    pred, target = random_boxes(5, 2), random_boxes(5, 3)
    weight = torch.arange(5.)
    expected = 2.5 * (ciou_loss(pred, target) * weight).sum() / 7
    torch.testing.assert_close(CIoULoss()(pred, target, weight, torch.tensor(7.)), expected)
    assert CIoULoss()(pred[:0], target[:0]).item() == 0


def test_oks_by_hand():
    points = torch.tensor([[[10., 10.], [20., 20.], [7., 7.]]])
    pred = points + torch.tensor([[3., 4.], [0., 0.], [1., 1.]])
    sigmas, area = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([400.])
    visible = torch.tensor([[1., 1., 0.]])
    first = math.exp(-25 / (0.2**2) / 400 / 2)
    assert oks(pred, points, visible, area, sigmas).item() == pytest.approx((first + 1) / 2)
    assert oks_loss(pred, points, visible, area, sigmas).item() == pytest.approx((1 - first) / 2)
    nothing = torch.zeros(1, 3)
    assert oks(pred, points, nothing, area, sigmas).item() == 0
    assert oks_loss(pred, points, nothing, area, sigmas).item() == 0
    loss = KeypointOKSLoss(loss_weight=10.)(
        pred, points, visible, area, sigmas, torch.tensor([0.5]), torch.tensor(2.))
    assert loss.item() == pytest.approx(10 * 0.5 * (1 - first) / 2 / 2)


def test_oks_gradient_by_finite_differences():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 4, 2, generator=generator, dtype=torch.double) * 20
    pred = (points + torch.randn(2, 4, 2, generator=generator)).requires_grad_()
    visible = torch.tensor([[1., 0, 1, 1], [0, 0, 0, 1]]).double()
    area, sigmas = torch.tensor([300., 80.]).double(), torch.full((4, ), 0.1).double()
    assert torch.autograd.gradcheck(
        lambda p: oks_loss(p, points, visible, area, sigmas), pred)


def test_decode_keypoints():
    priors, strides = torch.tensor([[12., 4.], [16., 16.]]), torch.tensor([[8.], [32.]])
    offsets = torch.tensor([[0., 0., 1., 0.5], [0.5, 0.5, -1., 2.]])
    points = decode_keypoints(priors, offsets, strides)
    assert points.tolist() == [[[8, 0], [16, 4]], [[16, 16], [-32, 64]]]


@pytest.mark.parametrize('mode', ['focal', 'bce'])
def test_keypoint_confidence(mode):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator)
    visible = (torch.rand(6, 5, generator=generator) > 0.5).float()
    weight = torch.rand(6, generator=generator)
    if mode == 'focal':
        dense = sigmoid_focal_loss(logits, visible, alpha=0.25, gamma=2)
    else:
        dense = F.binary_cross_entropy_with_logits(logits, visible, reduction='none')
    expected = 3 * (dense.mean(1) * weight).sum() / 4
    loss = KeypointConfidenceLoss(mode, loss_weight=3)(logits, visible, weight, torch.tensor(4.))
    torch.testing.assert_close(loss, expected)


def test_keypoint_confidence_refuses_other_modes():
    with pytest.raises(ValueError, match="must be 'focal' or 'bce'"):
        KeypointConfidenceLoss('varifocal')


def test_aligned_focal_loss_written_out():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 3, generator=generator, requires_grad=True)
    labels = torch.randint(4, (2, 6), generator=generator)
    pos_mask = labels < 3
    scores = torch.rand(2, 6, generator=generator) * pos_mask
    target = torch.zeros(2, 6, 3)
    for b in range(2):
        for i in range(6):
            if pos_mask[b, i]:
                target[b, i, labels[b, i]] = scores[b, i]
    dense = (logits.sigmoid() - target)**2 * F.binary_cross_entropy_with_logits(
        logits, target, reduction='none')
    loss = aligned_focal_loss(logits, labels, scores, pos_mask)
    torch.testing.assert_close(loss, dense.sum())
    grads = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (loss, dense.sum())]
    torch.testing.assert_close(*grads)
    ignore = torch.zeros(2, 6, dtype=torch.bool)
    ignore[1, 2] = ignore[0, 5] = True
    module = AlignedFocalLoss(loss_weight=2)
    torch.testing.assert_close(
        module(logits, labels, scores, pos_mask, torch.tensor(4.), ignore),
        2 * dense[~ignore].sum() / 4)
