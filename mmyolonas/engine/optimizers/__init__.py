"""Optimizers and their wrappers."""
from .auto_amp_optim_wrapper import AutoAmpOptimWrapper
from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .fused_adamw import FusedAdamW

__all__ = ['AutoAmpOptimWrapper', 'BFloat16OptimWrapper', 'FusedAdamW']
