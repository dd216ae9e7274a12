"""The fused optimiser takes the steps of the plain one."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmyolonas.engine.optimizers import FusedAdamW


def trained(build, steps: int = 5) -> list:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = build(model)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def test_steps_are_those_of_adamw():
    options = dict(lr=1e-2, weight_decay=0.1)
    for ours, plain in zip(trained(lambda m: FusedAdamW(m.parameters(), **options)),
                           trained(lambda m: torch.optim.AdamW(m.parameters(), **options))):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_falls_back_where_there_is_no_fused_kernel(monkeypatch):
    original = torch.optim.AdamW.__init__

    def without_fused(self, params, *args, fused=None, **kwargs):
        original(self, params, *args, fused=fused, **kwargs)  # writes into the groups it is given
        if fused:
            raise RuntimeError('`fused=True` requires all the params to be on CUDA')

    monkeypatch.setattr(torch.optim.AdamW, '__init__', without_fused)
    model = nn.Linear(3, 2)
    for params in (model.parameters(), [dict(params=[p]) for p in model.parameters()]):
        optimizer = FusedAdamW(params, lr=1e-3)
        assert sum(len(group['params']) for group in optimizer.param_groups) == 2
        assert not any(group['fused'] for group in optimizer.param_groups)


@pytest.mark.parametrize('rule', [dict(norm_decay_mult=0., bias_decay_mult=0.)])
def test_is_built_from_a_config(rule):
    wrapper = build_optim_wrapper(nn.Linear(3, 2), dict(
        type='OptimWrapper', optimizer=dict(type='mmyolonas.FusedAdamW', lr=1e-3,
                                            weight_decay=0.1), paramwise_cfg=rule))
    decays = {group['weight_decay'] for group in wrapper.optimizer.param_groups}
    assert isinstance(wrapper.optimizer, FusedAdamW) and decays == {0., 0.1}
