"""The weight average against the formula, and its hook in a training."""
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmyolonas.engine import ScheduledEMA
from tests import tiny


def make_model(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    for tensor in model.state_dict().values():
        tensor.fill_(value)
    return model


@pytest.mark.parametrize('schedule, decay_at', [
    ('constant', lambda t: 0.9),
    ('threshold', lambda t: min(0.9, (1 + t) / (10 + t))),
    ('exp', lambda t: 0.9 * (1 - math.exp(-3 * t / 200))),
])
def test_average_follows_the_formula(schedule, decay_at):
    model = make_model(5.0)
    ema = ScheduledEMA(model, decay=0.9, schedule=schedule, beta=3.0, total_steps=200)
    expected = 5.0
    for step in range(1, 121):
        weights = make_model(float(step))
        ema.update_parameters(weights)
        expected = decay_at(step) * expected + (1 - decay_at(step)) * step
    for value in ema.module.state_dict().values():
        if value.is_floating_point():  # parameters and running statistics alike
            torch.testing.assert_close(value, torch.full_like(value, expected), rtol=1e-5, atol=0)
        else:
            assert int(value) == 5
    assert int(ema.steps) == 120


def test_bad_arguments():
    with pytest.raises(ValueError, match='decay must lie'):
        ScheduledEMA(make_model(0), decay=1.0)
    with pytest.raises(ValueError, match='unknown schedule'):
        ScheduledEMA(make_model(0), schedule='linear')
    with pytest.raises(ValueError, match='total_steps'):
        ScheduledEMA(make_model(0), schedule='exp').update_parameters(make_model(1))


def test_hook_starts_from_the_initial_weights(tmp_path):
    """The average after one step is d * w0 + (1 - d) * w1 with d = 2 / 11."""
    cfg = Config(tiny.config(tiny.write_data(tmp_path / 'data', count=2), tmp_path / 'work', 1))
    cfg.default_hooks.checkpoint = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    hook = next(h for h in runner.hooks if type(h).__name__ == 'ScheduledEMAHook')
    initialise = runner._init_model_weights
    before = {}

    def initialise_and_remember():
        initialise()
        with torch.no_grad():  # as an init_cfg would, after the hook has copied the model
            for parameter in runner.model.parameters():
                parameter.add_(0.5)
        before.update({k: v.clone() for k, v in runner.model.state_dict().items()})

    runner._init_model_weights = initialise_and_remember
    runner.train()
    assert hook.ema_model.total_steps == 1
    for key, value in runner.model.state_dict().items():
        if value.is_floating_point():
            expected = 2 / 11 * before[key] + 9 / 11 * value
            torch.testing.assert_close(hook.ema_model.module.state_dict()[key], expected)
