"""Wrappers for models that are trained by several processes."""
from .all_reduce_batch_norm import AllReduceBatchNorm, synchronise_batch_norms
from .cpu_data_parallel import CPUDataParallel

__all__ = ['AllReduceBatchNorm', 'CPUDataParallel', 'synchronise_batch_norms']
