"""Scores against numbers computed by hand, entropy also against a simulation."""
import math

import numpy as np
import pytest
import torch
from torch import nn

from mmyolonas.search.accuracy.entropy import LEVEL_WEIGHTS, Moment, entropy
from mmyolonas.search.accuracy.scores import (
    SCORES,
    ScoreData,
    features,
    naswot,
    synflow,
    zico,
    zico_of_moments,
)
from tests import tiny


class Tiny(nn.Module):
    """Two 1x1 convolutions around a ReLU, in the shape of a detector."""

    def __init__(self, first, second) -> None:
        super().__init__()
        self.backbone = nn.Sequential(_conv(first), nn.ReLU())
        self.neck = _List()
        self.bbox_head = nn.Module()
        self.bbox_head.levels = nn.ModuleList([_Level(second)])


class _List(nn.Module):

    def forward(self, x):
        return [x]


class _Level(nn.Module):

    def __init__(self, weight) -> None:
        super().__init__()
        self.conv = _conv(weight)

    def forward(self, x):
        return (self.conv(x), )


def _conv(weight) -> nn.Conv2d:
    weight = torch.tensor(weight)[..., None, None]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    conv.weight.data = weight
    return conv


def images(*values) -> torch.Tensor:
    return torch.tensor(values).reshape(len(values), 1, 1, 1)


@pytest.mark.parametrize('values, expected', [
    ((1., -1.), math.log(4)),  # different codes: [[2, 0], [0, 2]]
    ((1., 2.), -math.inf),  # the same code: [[2, 2], [2, 2]]
])
def test_naswot_by_hand(values, expected):
    model = Tiny([[1.], [-1.]], [[1., 1.]])
    model.backbone[0].bias.data.zero_()
    assert naswot(model, ScoreData(images(*values), [])) == pytest.approx(expected)


def test_zico_by_hand():
    # absolute gradients (1, 3) and (2, 2) of a layer with two weights: means 2 and 2,
    # deviations 1 and 0; the weight that never varies is left out
    total, squares = torch.tensor([4., 4.]), torch.tensor([10., 8.])
    assert zico_of_moments([total], [squares], 2) == pytest.approx(math.log(2))
    # a layer without any gradient adds nothing
    zero = torch.zeros(3)
    assert zico_of_moments([total, zero], [squares, zero], 2) == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match='needs 2'):
        zico_of_moments([total], [squares], 1)


def test_zico_of_a_model():
    model = Tiny([[1.]], [[1.]])
    for conv in (model.backbone[0], model.bbox_head.levels[0].conv):
        conv.bias.data.zero_()
    # loss a * output: both weights have the gradient a (times the other weight, 1)
    losses = [lambda m, a=a: a * features(m, images(1.))[0].sum() for a in (1., 3.)]
    # mean 2, deviation 1 in both layers
    assert zico(model, ScoreData(images(1.), losses)) == pytest.approx(2 * math.log(2))


def test_synflow_by_hand():
    # |2| * |1| + |-3| * |-1| = 5 flows through each of two layers
    model = Tiny([[2.], [-3.]], [[1., -1.]])
    before = [p.clone() for p in model.parameters()]
    assert synflow(model, ScoreData(images(7.), [])) == pytest.approx(math.log(10))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_entropy_rules_by_hand():
    one = Moment(4)
    conv = nn.Conv2d(4, 6, 3, padding=1)
    assert conv(one).log == pytest.approx(math.log(36)) and conv(one).channels == 6
    assert nn.ReLU()(conv(one)).log == pytest.approx(math.log(18))
    assert (conv(one) + conv(one)).log == pytest.approx(math.log(72))
    joined = torch.cat([conv(one), Moment(2, math.log(4))], dim=1)
    assert joined.channels == 8 and joined.log == pytest.approx(math.log((6 * 36 + 2 * 4) / 8))
    up = nn.ConvTranspose2d(4, 5, 2, 2)
    assert up(one).log == pytest.approx(math.log(4))
    assert (torch.ones(1) * one).log == 0


def test_entropy_of_a_network_agrees_with_a_simulation():
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    model = MODELS.build(tiny.model_config())
    model.train()
    predicted = entropy(model)
    assert model.training and model.backbone.training
    model = model.double().eval()
    generator = torch.Generator().manual_seed(0)
    simulated = []
    for _ in range(30):
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.weight.data.normal_(generator=generator)
                if module.bias is not None:
                    module.bias.data.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = 0.  # running statistics are 0 and 1
        image = torch.randn(1, 3, 256, 256, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            outputs = model.neck(model.backbone(image))
        simulated.append([float(x.square().mean()) for x in outputs])
    logs = np.log(np.array(simulated)).mean(0)
    # zeros beyond the border, single draws of few channels, positive means behind ReLU
    assert predicted == pytest.approx(np.dot(LEVEL_WEIGHTS, logs), rel=0.1)


def test_scores_leave_a_model_as_it_was():
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    model = MODELS.build(tiny.model_config()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    data = ScoreData(torch.rand(3, 3, 64, 64), [
        lambda m, i=i: sum(x.square().mean() for x in features(m, torch.rand(2, 3, 64, 64) + i))
        for i in range(2)])
    values = {name: score.compute(model, data) for name, score in SCORES.items()}
    assert all(np.isfinite(value) for value in values.values())
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    # the same numbers again
    assert {n: s.compute(model, data) for n, s in SCORES.items() if n != 'zico'} == {
        n: v for n, v in values.items() if n != 'zico'}
