"""Resuming with another schedule, and from files that hold no training."""
import copy

import pytest
import torch
from mmengine.config import Config

from mmyolonas.engine.running import build_runner
from mmyolonas.utils import UserError
from tests import tiny

SCHEDULE = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=2),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=4, T_max=4, eta_min=1e-6,
         convert_to_iter_based=True),
]


def run(folder, epochs: int, resume=None, rate: float = 1e-3, batch: int = 2, schedule=True,
        constructor: str = 'DefaultOptimWrapperConstructor'):
    """Train; return the rates of the iterations and the runner."""
    data = folder / 'data'
    if not data.is_dir():
        tiny.write_data(data, count=4)
    cfg = Config(tiny.config(data, folder / f'work{epochs}', epochs=epochs))
    cfg.custom_hooks = []
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.train_dataloader.batch_size = batch
    cfg.optim_wrapper.optimizer.update(lr=rate, weight_decay=0.01)
    cfg.optim_wrapper.paramwise_cfg = dict(norm_decay_mult=0., bias_decay_mult=0.)
    cfg.optim_wrapper.constructor = constructor
    if schedule:
        cfg.param_scheduler = copy.deepcopy(SCHEDULE)
        cfg.param_scheduler[1].update(end=epochs, T_max=epochs)
    cfg.experiment_name = f'{folder.name}_{epochs}_{resume is None}_{rate}_{batch}'
    if resume:
        cfg.resume, cfg.load_from = True, str(resume)
    runner = build_runner(cfg)
    rates = []
    forward = runner.model.train_step

    def train_step(*args, **kwargs):
        rates.append(runner.optim_wrapper.optimizer.param_groups[-1]['lr'])
        return forward(*args, **kwargs)

    runner.model.train_step = train_step
    runner.train()
    return rates, runner


def test_more_epochs(tmp_path, caplog):
    """The rates are those of a training that had the longer schedule from the start."""
    short, _ = run(tmp_path, 4)
    whole, _ = run(tmp_path, 8)
    (tmp_path / 'work8').rename(tmp_path / 'whole')
    rest, _ = run(tmp_path, 8, tmp_path / 'work4' / 'epoch_4.pth')
    assert len(short) == 8 and len(whole) == 16 and len(rest) == 8
    assert rest == pytest.approx(whole[8:], rel=1e-6)
    assert rest[0] > 5 * short[-1]
    again, _ = run(tmp_path, 8, tmp_path / 'work8' / 'epoch_6.pth')  # nothing has changed
    assert again == pytest.approx(whole[12:], rel=1e-6)


@pytest.mark.parametrize('change', ['rate', 'batch'])
def test_another_rate_or_batch(tmp_path, change):
    run(tmp_path, 4)
    other = dict(rate=5e-3) if change == 'rate' else dict(batch=1)
    whole, _ = run(tmp_path, 8, **other)
    (tmp_path / 'work8').rename(tmp_path / 'whole')
    rest, _ = run(tmp_path, 8, tmp_path / 'work4' / 'epoch_4.pth', **other)
    assert rest == pytest.approx(whole[len(whole) // 2:], rel=1e-6)


@pytest.mark.parametrize('damage', [
    lambda c: c.pop('optimizer'), lambda c: c.pop('message_hub'), lambda c: c['meta'].clear(),
    lambda c: c['meta'].update(epoch='2'), lambda c: c['meta'].update(iter=-1),
    lambda c: c['optimizer'].update(param_groups=[1])])
def test_no_state_of_a_training(tmp_path, damage):
    run(tmp_path, 1)
    checkpoint = torch.load(tmp_path / 'work1' / 'epoch_1.pth')
    damage(checkpoint)
    torch.save(checkpoint, tmp_path / 'published.pth')
    with pytest.raises(UserError, match='no state of a training.*load_from'):
        run(tmp_path, 2, tmp_path / 'published.pth')


@pytest.mark.parametrize('name', ['DefaultOptimWrapperConstructor',
                                  'mmyolonas.MergedGroupsConstructor'])
def test_other_groups_of_parameters_are_refused(tmp_path, name):
    other = {'DefaultOptimWrapperConstructor': 'mmyolonas.MergedGroupsConstructor',
             'mmyolonas.MergedGroupsConstructor': 'DefaultOptimWrapperConstructor'}[name]
    run(tmp_path, 1, constructor=name)
    checkpoint = tmp_path / 'work1' / 'epoch_1.pth'
    rates, _ = run(tmp_path, 2, checkpoint, constructor=name)
    assert len(rates) == 2
    with pytest.raises(UserError, match='groups of parameters, the config makes'):
        run(tmp_path, 2, checkpoint, constructor=other)
