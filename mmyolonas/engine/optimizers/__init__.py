"""Optimizers, their wrappers, and how these are built."""
from .auto_amp_optim_wrapper import AutoAmpOptimWrapper
from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .fused_adamw import FusedAdamW
from .merged_groups_constructor import MergedGroupsConstructor

__all__ = ['AutoAmpOptimWrapper', 'BFloat16OptimWrapper', 'FusedAdamW', 'MergedGroupsConstructor']
