"""Merged groups of parameters train as those of mmengine."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

OPTIONS = dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1), paramwise_cfg=dict(
    norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True,
    custom_keys={'last': dict(lr_mult=0.1)}))


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Module()
    model.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    model.scale = nn.Parameter(torch.ones(1))
    model.last = nn.Linear(4, 2)
    model.again = model.last  # bypass_duplicate leaves it out
    model.frozen = nn.Linear(2, 2).requires_grad_(False)
    return model


def trained(constructor: str, clip: bool):
    model = network()
    wrapper = build_optim_wrapper(model, dict(
        copy.deepcopy(OPTIONS), constructor=constructor,
        clip_grad=dict(max_norm=0.1) if clip else None))
    for _ in range(5):
        image = torch.randn(4, 3, 2, 2)
        out = model.last((model.scale * model.body(image)).mean((2, 3)))
        wrapper.update_params(out.square().mean())
    return model, wrapper.optimizer


@pytest.mark.parametrize('clip', [False, True])
def test_steps_are_those_of_mmengine_to_the_bit(clip):
    plain, separate = trained('DefaultOptimWrapperConstructor', clip)
    merged, together = trained('mmyolonas.MergedGroupsConstructor', clip)
    for (name, one), other in zip(plain.named_parameters(), merged.parameters()):
        assert torch.equal(one, other), name
    assert len(separate.param_groups) == 9 and len(together.param_groups) == 3
    kinds = [{(group['lr'], group['weight_decay']) for group in optimizer.param_groups}
             for optimizer in (separate, together)]
    assert kinds[0] == kinds[1] and len(kinds[1]) == 3
    assert sum(len(group['params']) for group in together.param_groups) == 9


def test_recipes_have_few_groups():
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope
    for name in ('yolonas/yolonas_s_coco', 'yolonas_pose/yolonas_pose_n_coco',
                 'yolonas/yolonas_s_bccd'):
        cfg = Config.fromfile(f'configs/{name}.py')
        init_default_scope(cfg.default_scope)
        wrapper = build_optim_wrapper(MODELS.build(cfg.model), dict(
            cfg.optim_wrapper, type='OptimWrapper'))
        assert len(wrapper.optimizer.param_groups) <= 3, name
