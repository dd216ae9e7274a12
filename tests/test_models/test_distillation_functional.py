"""The losses of distillation against mmdet's and numpy's."""
import numpy as np
import pytest
import torch
from mmdet.models.losses.gfocal_loss import quality_focal_loss_tensor_target
from mmdet.models.losses.kd_loss import knowledge_distillation_kl_div_loss

from mmyolonas.models.losses.distillation_functional import (
    confidence_weights,
    distribution_kl,
    feature_correlation_loss,
)
from mmyolonas.models.losses.functional import soft_focal_loss


def test_soft_focal_loss():
    """mmdet's quality focal loss; the minimum is where the student agrees."""
    logits = torch.randn(50, 4, requires_grad=True)
    target = torch.rand(50, 4)
    expected = quality_focal_loss_tensor_target(
        logits, target, beta=2.0, activated=False, reduction='none')
    torch.testing.assert_close(soft_focal_loss(logits, target).sum(1), expected)
    same = torch.logit(target).requires_grad_()
    loss = soft_focal_loss(same, target).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9) and same.grad.abs().max() < 1e-5


@pytest.mark.parametrize('temperature', [1, 10])
def test_distribution_kl(temperature):
    """mmdet's localization distillation, which divides by the number of bins."""
    pred, target = torch.randn(6, 4 * 17), torch.randn(6, 4 * 17)
    loss = distribution_kl(pred, target, 16, temperature)
    expected = knowledge_distillation_kl_div_loss(
        pred.view(-1, 17), target.view(-1, 17), T=temperature, reduction='none')
    torch.testing.assert_close(loss, expected.view(6, 4).mean(1) * 17)
    assert distribution_kl(target + 3, target, 16, temperature).abs().max() < 1e-4


def test_feature_correlation_loss():
    feat, target = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    rows = [x.flatten(2).flatten(0, 1).numpy() for x in (feat, target)]
    expected = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(*rows)])
    assert feature_correlation_loss(feat, target).item() == pytest.approx(expected, rel=1e-5)
    assert feature_correlation_loss(3 * target + 7, target).item() == pytest.approx(0, abs=1e-6)
    assert feature_correlation_loss(-target, target).item() == pytest.approx(2, rel=1e-6)
    assert torch.isfinite(feature_correlation_loss(torch.zeros(1, 2, 3, 3), target[:1, :2, :3, :3]))


def test_confidence_weights():
    scores = torch.tensor([[[0.5, 0.1], [0.04, 0.02], [0.2, 0.9]]])
    assert torch.allclose(confidence_weights(scores), torch.tensor([[0.5, 0, 0.9]]))
    assert torch.allclose(confidence_weights(scores, 2, 0.6), torch.tensor([[0, 0, 0.81]]))
    assert torch.equal(confidence_weights(scores, 0, 0.1), torch.tensor([[1., 0, 1]]))
