"""Mixed precision where the machine has it."""
import logging

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmyolonas.registry import OPTIM_WRAPPERS

from .bfloat16_optim_wrapper import BFloat16OptimWrapper


@OPTIM_WRAPPERS.register_module()
class AutoAmpOptimWrapper(AmpOptimWrapper):
    """The mixed precision that fits the machine.

    With an accelerator this is :class:`mmengine.optim.AmpOptimWrapper`, whose
    arguments it takes. Without one, creating it gives another wrapper and says
    so: bfloat16 autocast on a CPU that has matrix units for it (AMX), and plain
    single precision on any other. A config that asks for mixed precision then
    also trains on a CPU, with any tool.
    """

    def __new__(cls, *args, loss_scale='dynamic', dtype=None, use_fsdp: bool = False, **kwargs):
        """Return a wrapper that fits the machine."""
        if has_accelerator():
            return super().__new__(cls)
        bfloat16 = has_bfloat16_units()
        wanted = 'bfloat16, for which this CPU has matrix units' if bfloat16 else \
            'single precision'
        print_log(
            f"no GPU: training in {wanted}, instead of the config's mixed precision",
            logger='current',
            level=logging.WARNING)
        return (BFloat16OptimWrapper if bfloat16 else OptimWrapper)(*args, **kwargs)


def has_accelerator() -> bool:
    """Whether mmengine's mixed precision can run here."""
    from mmengine.device import get_device
    return torch.cuda.is_available() or get_device() in ('npu', 'mlu', 'musa')


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (Intel AMX)."""
    supported = getattr(torch.cpu, '_is_amx_tile_supported', None)  # torch >= 2.6
    return supported is not None and bool(supported())
