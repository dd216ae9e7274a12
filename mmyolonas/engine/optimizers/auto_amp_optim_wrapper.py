"""Mixed precision where the machine has it."""
import logging

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmyolonas.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutoAmpOptimWrapper(AmpOptimWrapper):
    """Mixed precision on an accelerator, single precision on a CPU.

    Without an accelerator, creating one gives a plain
    :class:`mmengine.optim.OptimWrapper` and says so; a config that asks for
    mixed precision then also trains on a CPU, with any tool. The arguments are
    those of :class:`mmengine.optim.AmpOptimWrapper`.
    """

    def __new__(cls, *args, loss_scale='dynamic', dtype=None, use_fsdp: bool = False, **kwargs):
        """Return a wrapper that fits the machine."""
        if has_accelerator():
            return super().__new__(cls)
        print_log(
            'no GPU: training in single precision instead of mixed precision',
            logger='current',
            level=logging.WARNING)
        return OptimWrapper(*args, **kwargs)


def has_accelerator() -> bool:
    """Whether mmengine's mixed precision can run here."""
    from mmengine.device import get_device
    return torch.cuda.is_available() or get_device() in ('npu', 'mlu', 'musa')
