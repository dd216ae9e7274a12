"""Data-parallel training without GPUs."""
from typing import Any

from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmyolonas.registry import MODEL_WRAPPERS

from .all_reduce_batch_norm import synchronise_batch_norms


@MODEL_WRAPPERS.register_module()
class CPUDataParallel(MMDistributedDataParallel):
    """mmengine's data-parallel wrapper for processes that compute on a CPU.

    mmengine names a GPU for each process and leaves the synchronisation of
    batch norms to kernels that exist for GPUs alone; this does without both.
    The tools choose it where there is no accelerator (:func:`use_processes`).

    Args:
        module (nn.Module): The model.
        sync_bn (bool): Whether batch norms use the images of all processes.
            Defaults to False.
        device_ids (list, optional): Not used; mmengine passes it.
        **kwargs: Arguments of :class:`mmengine.model.MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, sync_bn: bool = False, device_ids: Any = None,
                 **kwargs: Any) -> None:
        if sync_bn:
            module = synchronise_batch_norms(module)
        kwargs.setdefault('broadcast_buffers', False)  # as mmengine's runner does
        super().__init__(module=module, **kwargs)
