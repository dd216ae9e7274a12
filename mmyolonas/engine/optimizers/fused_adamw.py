"""AdamW in one kernel where PyTorch has one."""
from typing import Iterable

import torch

from mmyolonas.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class FusedAdamW(torch.optim.AdamW):
    """:class:`torch.optim.AdamW` with the fused kernel where there is one.

    PyTorch has it for CUDA from 2.0 and for CPUs from 2.4, but does not use it
    unasked; on a CPU it takes a fifth of the time of the default. Elsewhere
    this is the default implementation; the results agree to rounding.

    Args:
        params (Iterable): Parameters or parameter groups.
        **kwargs: The arguments of :class:`torch.optim.AdamW`.
    """

    def __init__(self, params: Iterable, **kwargs) -> None:
        params = list(params)  # a generator would be empty at the second try
        # and the first try writes its options into groups it is given
        groups = [dict(group) if isinstance(group, dict) else group for group in params]
        try:
            super().__init__(groups, fused=True, **kwargs)
        except RuntimeError:  # no fused kernel for this device
            super().__init__(params, **kwargs)
