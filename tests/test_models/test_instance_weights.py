"""Losses weighted object by object."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict

from mmyolonas.models.losses.functional import varifocal_loss
from mmyolonas.registry import MODELS
from tests.test_models.test_yolonas_head import sample
from tests.tiny import model_config

BOXES = [[8, 8, 40, 40], [30, 4, 60, 30]]


@pytest.fixture(autouse=True)
def mmdet_scope(no_default_scope):
    register_all_modules(init_default_scope=True)


def losses(samples: list, weights: list, enabled: bool = True) -> tuple:
    """Return the losses and a gradient; weights are per image, None for none."""
    torch.manual_seed(0)
    config = model_config()
    config['bbox_head']['instance_weights'] = enabled
    model = MODELS.build(ConfigDict(config)).train()
    for data_sample, values in zip(samples, weights):
        data_sample.gt_instances.pop('weights', None)
        if values is not None:
            data_sample.gt_instances.weights = torch.tensor(values)
    images = torch.rand(len(samples), 3, 64, 64)
    result = model(images, samples, mode='loss')
    sum(result.values()).backward()
    return result, model.bbox_head.levels[0].cls_pred.weight.grad


def test_weights_of_one_change_nothing():
    batch = [sample(BOXES, [0, 1]), sample()]
    plain, grad = losses(batch, [None, None], enabled=False)
    for weights in ([None, None], [[1., 1.], []], [None, []]):
        again, other = losses(batch, weights)
        assert all(torch.equal(plain[key], again[key]) for key in plain)
        assert torch.equal(grad, other)
    ignored, _ = losses(batch, [[0.2, 0.3], []], enabled=False)
    assert all(torch.equal(plain[key], ignored[key]) for key in plain)


def test_weight_zero_removes_an_object_from_the_box_losses():
    both, _ = losses([sample(BOXES[:1], [0]), sample(BOXES[1:], [1])], [[1.], [0.]])
    alone, _ = losses([sample(BOXES[:1], [0]), sample()], [[1.], []])
    for key in ('loss_bbox', 'loss_dfl'):
        torch.testing.assert_close(both[key], alone[key], rtol=1e-5, atol=1e-6)
    # its priors are not pushed towards background either
    assert both['loss_cls'] < alone['loss_cls']
    half, _ = losses([sample(BOXES[:1], [0]), sample(BOXES[1:], [1])], [[1.], [0.5]])
    assert half['loss_bbox'] != both['loss_bbox']


def test_all_weights_alike_scale_the_box_losses():
    """The divisor of so few objects is 1; a larger one would scale as well."""
    plain, _ = losses([sample(BOXES, [0, 1])] * 2, [[1., 1.]] * 2)
    scaled, _ = losses([sample(BOXES, [0, 1])] * 2, [[.9, .9]] * 2)
    for key in ('loss_bbox', 'loss_dfl'):
        torch.testing.assert_close(plain[key] * 0.9, scaled[key], rtol=1e-5, atol=1e-6)


def test_no_objects_at_all():
    empty, grad = losses([sample(), sample()], [[], None])
    assert empty['loss_bbox'] == 0 and grad.isfinite().all()


def test_varifocal_weight_is_the_formula():
    """Against the dense formula and its recorded gradient."""
    torch.manual_seed(0)
    logits = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 7))
    pos_mask = torch.rand(2, 7) > 0.5
    target, weight = torch.rand(2, 7, dtype=torch.float64), torch.rand(2, 7, dtype=torch.float64)
    loss = varifocal_loss(logits, labels, target, pos_mask, weight=weight)
    grad, = torch.autograd.grad(loss, logits)

    one_hot = F.one_hot(labels, 3).bool() & pos_mask[..., None]
    dense_target = torch.where(one_hot, target[..., None], 0.)
    factor = torch.where(one_hot, (target * weight)[..., None], 0.75 * logits.sigmoid()**2)
    expected = (factor * F.binary_cross_entropy_with_logits(
        logits, dense_target, reduction='none')).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])
