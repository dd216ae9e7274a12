"""Random architectures through everything a part goes through: slice, step, recalibrate, export."""
import copy

import numpy as np
import pytest
import torch

from mmyolonas.export import export_onnx
from mmyolonas.search.accuracy.inherited import recalibrate
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.space import Space
from mmyolonas.search.space.space_table import PUBLISHED
from mmyolonas.utils.building import switch_to_deploy
from tests.test_search.test_space import train_step
from tests.test_search.test_supernet import COUNTS, flat, make_net


def step(net, genome: dict) -> None:
    """One step of the largest and of one architecture that learns from it."""
    opinion = []

    def losses(images, samples):
        found = {}
        for place, part in enumerate((net.largest(), genome)):
            one = net._part_losses(dict(part, input_size=64), images, samples, opinion)
            found.update({f'{place}_{name}': value for name, value in one.items()})
        # every weight has a gradient, also those that neither reads
        found['loss_idle'] = sum(p.sum() for p in net.parameters()) * 0
        return found

    net.loss = losses
    assert np.isfinite(train_step(net, net.task, 64))
    del net.loss


def through_everything(net, space: Space, genome: dict, folder) -> None:
    before = net.state_of(genome)
    values = {key: value.detach().clone() for key, value in before.items()}
    step(net, genome)
    after = net.state_of(genome)
    assert any(not torch.equal(after[key], values[key]) for key in values)
    model = net.build(genome)
    assert all(torch.equal(value, after[key]) for key, value in model.named_parameters())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    recalibrate(model, [images])
    own = build(space.decode(genome), COUNTS[space.task])
    own.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        whole = flat(own.eval()(images, [], mode='tensor'))
        fused = flat(switch_to_deploy(copy.deepcopy(model))(images, [], mode='tensor'))
    for one, other in zip(whole, fused):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)
    # compares ONNX Runtime with PyTorch, boxes in pixels; norms of few values amplify rounding
    report = export_onnx(model, str(folder / 'part.onnx'), (1, 3, 64, 64), nms='none')
    assert max(report.errors.values()) < 0.05, report.errors


def run_samples(task: str, count: int, folder, seed: int = 7, **limits) -> None:
    space = Space(task, (64, ), **limits)
    net = make_net(space)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        through_everything(net, space, space.sample_genome(rng), folder)


@pytest.mark.long
def test_one_sample(tmp_path):
    run_samples('pose', 1, tmp_path, max_arch=PUBLISHED['pose'][0])


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_samples_of_the_whole_space(task, seed, tmp_path):
    """200 architectures in ten parts, which may run side by side."""
    run_samples(task, 20, tmp_path, seed)
