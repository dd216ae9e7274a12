"""Regions to ignore: which scores they leave open, and what becomes of the loss there."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmyolonas.models.losses.functional import varifocal_loss
from mmyolonas.models.losses.pose_functional import aligned_focal_loss
from mmyolonas.models.utils import grid_priors, ignored_priors
from mmyolonas.registry import MODELS
from tests.test_models.test_yolonas_head import sample
from tests.tiny import model_config

BOXES = [[8, 8, 40, 40], [30, 4, 60, 30]]


def region(boxes, labels) -> InstanceData:
    return InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                        labels=torch.tensor(labels, dtype=torch.long))


REGIONS = [region([[2, 2, 20, 18], [10, 30, 64, 64], [0, 0, 4, 4]], [0, 2, 1]), None,
           region([], []), region([[16, 8, 48, 24]], [1])]


def by_hand(which, priors, classes) -> torch.Tensor:
    """One prior, one region, one class after the other."""
    found = torch.zeros(len(REGIONS), len(priors), classes, dtype=torch.bool)
    for image, regions in enumerate(REGIONS):
        for x1, y1, x2, y2 in ([] if regions is None else regions.bboxes.tolist()):
            label = next(int(k) for b, k in zip(regions.bboxes.tolist(), regions.labels)
                         if b == [x1, y1, x2, y2])
            for index, (x, y) in enumerate(priors.tolist()):
                if x1 < x < x2 and y1 < y < y2:
                    for c in range(classes):
                        if which == 'all' or c == label:
                            found[image, index, c] = True
    return found


@pytest.mark.parametrize('which', ['class', 'all'])
def test_scores_that_are_left_open(which):
    priors, _ = grid_priors([(8, 8), (4, 4), (2, 2)], (8, 16, 32))
    expected = by_hand(which, priors, 3)
    got = ignored_priors(REGIONS, priors, 3, which)
    assert torch.equal(got, expected) and 20 < expected.sum() < expected.numel() / 3
    # an edge is outside: the centre of the first cell is at (4, 4)
    assert not got[0, 0, 1] or which == 'all'
    boxed = [None if r is None else InstanceData(
        bboxes=HorizontalBoxes(r.bboxes), labels=r.labels) for r in REGIONS]
    assert torch.equal(ignored_priors(boxed, priors, 3, which), expected)


def test_no_region_costs_nothing():
    priors, _ = grid_priors([(2, 2)], (8, ))
    assert ignored_priors([None, region([], [])], priors, 3) is None


def test_loss_without_the_scores_that_are_open():
    """Value and gradient of both losses against the sum written out."""
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 4, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, 4, (2, 9))
    pos_mask = torch.rand(2, 9) > 0.6
    target = torch.rand(2, 9, dtype=torch.double)
    ignore = torch.rand(2, 9, 4) > 0.5
    positive = F.one_hot(labels, 4).bool() & pos_mask[..., None]
    assert (positive & ignore).any() and (positive & ~ignore).any()
    dense = torch.where(positive, target[..., None], 0.)
    entropy = F.binary_cross_entropy_with_logits(logits, dense, reduction='none')
    weights = (torch.where(positive, dense, 0.75 * logits.sigmoid()**2),
               (logits.sigmoid() - dense).abs()**2)
    losses = (varifocal_loss(logits, labels, target, pos_mask, ignore_mask=ignore),
              aligned_focal_loss(logits, labels, target, pos_mask, ignore_mask=ignore))
    for weight, loss in zip(weights, losses):
        expected = (weight * entropy)[positive | ~ignore].sum()
        torch.testing.assert_close(loss, expected)
        grads = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (loss, expected)]
        torch.testing.assert_close(*grads)
        assert (grads[0][ignore & ~positive] == 0).all()
    with torch.no_grad():  # the path without a gradient
        torch.testing.assert_close(
            varifocal_loss(logits, labels, target, pos_mask, ignore_mask=ignore), losses[0])


@pytest.fixture
def run(no_default_scope):
    register_all_modules(init_default_scope=True)

    def losses(samples, **head) -> tuple:
        torch.manual_seed(0)
        config = model_config()
        config['bbox_head'].update(head)
        model = MODELS.build(ConfigDict(config)).train()
        result = model(torch.rand(len(samples), 3, 64, 64), samples, mode='loss')
        sum(result.values()).backward()
        grads = [level.cls_pred.bias.grad for level in model.bbox_head.levels]
        return {key: float(value.detach()) for key, value in result.items()}, torch.stack(grads)

    return losses


def batch(*ignored) -> list:
    samples = [sample(BOXES, [0, 1]), sample()]
    for data_sample, regions in zip(samples, ignored):
        if regions is not None:
            data_sample.ignored_instances = regions
    return samples


def test_the_default_is_the_originals(run):
    """Regions are background unless they are asked for; asking without regions is exact."""
    plain, grad = run(batch())
    everywhere = region([[0, 0, 64, 64]], [0])
    for samples, head in ((batch(everywhere, everywhere), {}),
                          (batch(), dict(ignored_regions='class')),
                          (batch(region([], []), None), dict(ignored_regions='all'))):
        again, other = run(samples, **head)
        assert again == plain and torch.equal(grad, other)


def test_a_region_over_the_whole_image_leaves_its_positives(run):
    plain, _ = run(batch())
    everywhere = region([[0, 0, 64, 64]], [0])
    losses, grads = {}, {}
    for which in ('class', 'all'):
        losses[which], grads[which] = run(batch(everywhere, everywhere), ignored_regions=which)
        assert {k: v for k, v in losses[which].items() if k != 'loss_cls'} == {
            k: v for k, v in plain.items() if k != 'loss_cls'}
    assert 0 < losses['all']['loss_cls'] < losses['class']['loss_cls'] < plain['loss_cls']
    # an image without objects teaches nothing of class 0, but still of class 1
    alone = [sample()]
    alone[0].ignored_instances = everywhere
    _, grad = run(alone, ignored_regions='class')
    assert (grad[:, 0] == 0).all() and (grad[:, 1] > 0).all()


def test_what_the_option_takes(no_default_scope):
    register_all_modules(init_default_scope=True)
    config = model_config()['bbox_head']
    with pytest.raises(ValueError, match="ignored_regions must be None, 'class' or 'all'"):
        MODELS.build(ConfigDict(config, ignored_regions='classes'))
