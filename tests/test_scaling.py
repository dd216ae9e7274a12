"""The model of what large trainings cost: its arithmetic by hand, its inputs, its page."""
import json
from pathlib import Path

import pytest

from benchmarks.scaling import (
    INPUTS,
    MARKS,
    Inputs,
    all_reduce,
    jobs,
    measured_rates,
    tables,
    training_hours,
    training_step,
    with_tables,
)
from mmyolonas.utils import UserError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def inputs():
    return Inputs.read()


def plain(inputs, **values):
    return inputs.replaced({name.replace('__', '.'): value for name, value in values.items()},
                           'assumed', 'a test')


def test_all_reduce_by_hand(inputs):
    """2 (n - 1) / n of the data through each link, once in the node and an eighth between."""
    inputs = plain(inputs, bus__node=1e9, bus__net=1e8, latency__node=1e-3, latency__net=1e-2)
    assert all_reduce(inputs, 1e9, 1) == 0
    assert all_reduce(inputs, 1e9, 2) == pytest.approx(1 + 1e-3)
    assert all_reduce(inputs, 1e9, 8) == pytest.approx(1.75 + 1e-3)
    assert all_reduce(inputs, 1e9, 64) == pytest.approx(1.75 + 1e-3 + 2 * 7 / 8 / 8 * 10 + 1e-2)


def test_step_by_hand(inputs):
    inputs = plain(inputs, rate__low__s=100., batch=32, workers=4, worker__rate=50.,
                   norms__s=100, latency__node=1e-4, bus__node=1e9, bucket=1e7, overlap=0.5,
                   parameters__s=1e8)
    step = training_step(inputs, 'low', 's', 8)
    assert step.compute == pytest.approx(0.32) and step.feed == pytest.approx(0.16)
    assert step.norms == pytest.approx(2 * 100 * 1e-4)
    assert step.reduce == pytest.approx(1.75 * 0.4 + 1e-4)
    assert step.exposed == pytest.approx(0.7001 - 0.16)
    assert step.seconds == pytest.approx(0.32 + 0.02 + 0.5401) and step.bound == 'gradients'
    alone = training_step(inputs, 'low', 's', 1)
    assert alone.seconds == pytest.approx(0.32) and alone.bound == 'computing'
    starved = training_step(plain(inputs, worker__rate=10.), 'low', 's', 1)
    assert starved.seconds == pytest.approx(0.8) and starved.bound == 'data'


def test_batch_is_limited_and_time_is_that_of_the_steps(inputs):
    inputs = plain(inputs, batch__largest=256)
    assert training_step(inputs, 'low', 's', 64).batch == 4
    step = training_step(inputs, 'low', 's', 8)
    assert step.batch == 32
    quiet = plain(inputs, validation__serial=1e-9)
    hours = training_hours(quiet, step, 8, 2560 * 10, 10)
    network = 5000 * inputs['step.share_forward'] * step.compute / 32 / 8 * 2
    assert hours == pytest.approx((1000 * step.seconds + network) / 3600)


def test_more_gpus_never_take_longer_and_never_scale_beyond_their_number(inputs):
    for case in ('low', 'high'):
        one, node, cluster = (jobs(inputs, case, n) for n in (1, 8, 64))
        for name in one:
            assert one[name] > node[name] >= cluster[name], name
            assert one[name] <= 8 * node[name] * 1.001 and node[name] <= 8 * cluster[name] * 1.02
        assert node['coco S'] < node['coco M'] < node['coco L'] < node['supernet']


def test_model_sizes_are_the_models(inputs):
    import torch

    from benchmarks.gpu.models import build
    model = build('s')
    assert inputs['parameters.s'] == sum(
        p.numel() for p in model.parameters() if p.requires_grad)
    assert inputs['norms.s'] == sum(
        isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    from mmyolonas.search.latency.operators import operators
    assert inputs['macs.s'] == sum(op.macs for op in operators(model, 640))


def test_every_input_says_where_it_is_from(inputs):
    for name, entry in inputs.entries.items():
        assert entry['mark'] in MARKS and entry['source'], name
    # a GPU has not been measured: a mark that says so would be a claim
    measured = [name for name, entry in inputs.entries.items() if entry['mark'] == 'measured']
    assert not [name for name in measured if name.startswith(('rate', 'utilisation', 'bus'))]
    for change in (dict(mark='known'), dict(source=''), dict(value=0), dict(value='4'),
                   dict(value=float('nan'))):
        with pytest.raises(UserError):
            Inputs({'workers': {**inputs.entries['workers'], **change}})
    with pytest.raises(UserError, match='there is no input'):
        inputs.replaced(dict(speed=1.), 'assumed', 'x')


def test_rates_of_a_measurement(inputs, tmp_path):
    rows = {'mmyolonas': dict(images_a_second=300.), 'rtmdet-s': dict(images_a_second=900.),
            'mmyolonas, compiled': dict(images_a_second=400.)}
    items = {key: dict(status='done', result=dict(implementations=rows))
             for key in ('step/s-b32-fp16', 'step/m-b32-fp32', 'step/pose_s-b32-fp16')}
    path = tmp_path / 'gpu-speed.json'
    path.write_text(json.dumps(dict(rehearsal=False, items=items)))
    rates = measured_rates(path)
    assert rates == {'rate.low.s': 400.}
    known = inputs.replaced(rates, 'measured', 'x')
    assert known.rate('low', 's') == known.rate('high', 's') == 400
    assert known.rate('high', 'm') != known.rate('low', 'm')
    path.write_text(json.dumps(dict(rehearsal=True, items=items)))
    with pytest.raises(UserError, match='is no measurement'):
        measured_rates(path)


def test_page_has_the_tables_of_the_script(inputs):
    page = (ROOT / 'docs/en/scaling.md').read_text(encoding='utf-8')
    assert with_tables(page, tables(inputs, (1, 8, 64))) == page, (
        'renew them: python benchmarks/scaling.py --write docs/en/scaling.md')
    assert 'Nothing here was measured on a GPU' in page
    with pytest.raises(UserError, match='lacks the lines'):
        with_tables('no place', 'x')
    assert json.loads(INPUTS.read_text())
