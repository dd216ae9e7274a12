"""The logger's clock and the choice of precision."""
import pytest
import torch
from mmengine.optim import OptimWrapper

from mmyolonas.engine.hooks import ProgressLoggerHook
from mmyolonas.engine.optimizers import AutoAmpOptimWrapper, BFloat16OptimWrapper
from mmyolonas.registry import OPTIM_WRAPPERS


def test_logger_is_never_silent_for_long(monkeypatch):
    """A line after the first iteration, then by time, and mmengine's own by interval."""
    clock = iter([0.0, 4.0, 9.0, 11.0, 15.0, 20.5, 22.0, 25.0, 31.0, 33.0])
    monkeypatch.setattr('time.monotonic', lambda: next(clock))
    hook = ProgressLoggerHook(interval=5, max_silence=10)
    due = [hook._is_due(index) for index in range(10)]
    #      0     4      9      11    15(*)  20.5   22     25    31(?)  33
    assert due == [True, False, False, True, False, False, False, True, False, False]


@pytest.mark.parametrize('accelerator, amx, expected', [
    (False, False, OptimWrapper), (False, True, BFloat16OptimWrapper)])
def test_precision_without_a_gpu(monkeypatch, accelerator, amx, expected):
    module = 'mmyolonas.engine.optimizers.auto_amp_optim_wrapper'
    monkeypatch.setattr(f'{module}.has_accelerator', lambda: accelerator)
    monkeypatch.setattr(f'{module}.has_bfloat16_units', lambda: amx)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmyolonas.AutoAmpOptimWrapper', loss_scale='dynamic',
             clip_grad=dict(max_norm=1.0)), default_args=dict(optimizer=optimizer))
    assert type(wrapper) is expected
    assert wrapper.clip_grad_kwargs == dict(max_norm=1.0)
    assert issubclass(AutoAmpOptimWrapper, OptimWrapper)
