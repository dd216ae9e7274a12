"""The three forms of a QARepVGG block in a checkpoint.

An unfused block has ``branch_3x3``, ``branch_1x1`` and ``post_bn``; a partially
fused one ``rbr_reparam`` and ``post_bn``; a fully fused one ``rbr_reparam``
alone. SuperGradients stores an untrained ``rbr_reparam`` with unfused blocks
too. Formulas: reference.md 2.2.
"""
from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

State = Dict[str, Tensor]


@dataclass(frozen=True)
class BlockInfo:
    """What a checkpoint does not tell about a block.

    Args:
        has_identity: Whether the block adds its input.
        eps: Epsilon of its batch norms.
    """
    has_identity: bool
    eps: float


def block_prefixes(keys) -> List[str]:
    """Return the prefixes of all QARepVGG blocks, with their final dot."""
    marks = ('branch_3x3.conv.weight', 'rbr_reparam.weight')
    found = {key[:-len(mark)]: None for key in keys for mark in marks if key.endswith(mark)}
    return list(found)


def form_of(state: State, prefix: str) -> str:
    """Return 'unfused', 'partial' or 'full'."""
    if f'{prefix}branch_3x3.conv.weight' in state:
        return 'unfused'
    return 'partial' if f'{prefix}post_bn.weight' in state else 'full'


def drop_placeholders(state: State) -> Tuple[State, List[str]]:
    """Remove the untrained convolutions of unfused blocks.

    Returns:
        tuple[dict, list[str]]: The rest, and the keys that were dropped.
    """
    dropped = [
        f'{prefix}rbr_reparam.{leaf}' for prefix in block_prefixes(state)
        if form_of(state, prefix) == 'unfused' for leaf in ('weight', 'bias')
        if f'{prefix}rbr_reparam.{leaf}' in state
    ]
    gone = set(dropped)
    return {key: value for key, value in state.items() if key not in gone}, dropped


def expand_block(state: State, prefix: str, info: BlockInfo) -> State:
    """Return the entries of an unfused block that computes what a fused one does.

    The 3x3 branch holds the fused kernel less the identity, the 1x1 branch is
    zero, and the batch norms pass their input on. In training mode they would
    normalise it: to train on, start from unfused weights where there are any.

    Args:
        state (dict): State dict with a fused block.
        prefix (str): Prefix of the block, with its final dot.
        info (BlockInfo): Identity branch and epsilon.
    """
    kernel = state[f'{prefix}rbr_reparam.weight'].float()
    bias = state[f'{prefix}rbr_reparam.bias'].float()
    branch = kernel.clone()
    if info.has_identity:
        channels = torch.arange(kernel.shape[0])
        branch[channels, channels % kernel.shape[1], 1, 1] -= 1
    pass_on = _norm_that_passes_on(len(bias), info.eps)
    block = {'branch_3x3.conv.weight': branch}
    block.update({f'branch_3x3.bn.{key}': value for key, value in pass_on.items()})
    block['branch_3x3.bn.bias'] = bias.clone()
    block['branch_1x1.weight'] = torch.zeros(*kernel.shape[:2], 1, 1)
    block['branch_1x1.bias'] = torch.zeros(len(bias))
    for key, value in pass_on.items():
        block[f'post_bn.{key}'] = state.get(f'{prefix}post_bn.{key}', value).clone()
    return {f'{prefix}{key}': value for key, value in block.items()}


def _norm_that_passes_on(channels: int, eps: float) -> State:
    """Return the entries of a batch norm that changes nothing in evaluation mode."""
    return dict(
        weight=torch.full((channels, ), (1 + eps)**0.5),
        bias=torch.zeros(channels),
        running_mean=torch.zeros(channels),
        running_var=torch.ones(channels),
        num_batches_tracked=torch.zeros((), dtype=torch.int64))


def partial_fusion(state: State, prefix: str, info: BlockInfo) -> State:
    """Return the ``rbr_reparam`` entries of an unfused block's partial fusion."""
    def get(name: str) -> Tensor:
        return state[f'{prefix}{name}'].double()

    scale = get('branch_3x3.bn.weight') / (get('branch_3x3.bn.running_var') + info.eps).sqrt()
    kernel = get('branch_3x3.conv.weight') * scale.view(-1, 1, 1, 1)
    kernel += F.pad(get('branch_1x1.weight'), [1, 1, 1, 1])
    if info.has_identity:
        channels = torch.arange(kernel.shape[0])
        kernel[channels, channels % kernel.shape[1], 1, 1] += 1
    bias = get('branch_3x3.bn.bias') - get('branch_3x3.bn.running_mean') * scale
    bias += get('branch_1x1.bias')
    return {
        f'{prefix}rbr_reparam.weight': kernel.float(),
        f'{prefix}rbr_reparam.bias': bias.float()
    }
