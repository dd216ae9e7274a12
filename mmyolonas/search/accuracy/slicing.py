"""From the weights of the largest architecture to those of any other: slices, no copies.

Every architecture of the space is a part of the largest one. Of channels it takes the
first ones, of bottlenecks the first ones. What a convolution reads from a concatenation
lies in slots, one for each map, as wide as the largest architecture's; of every slot that
the part reads it takes the first channels:

* ``conv3`` of a CSP layer reads the input of the chain, each bottleneck's result and, in
  the last slot, the by-pass. Without concatenation it reads the last bottleneck's slot and
  the by-pass.
* ``reduce_after_concat`` reads three maps, ``conv1`` and ``conv2`` of the bottom-up stages
  the reduced map (half of the stage's width) and the skip, ``cv2`` of the context module
  one map for each pool.

The logits of a box side are a distribution, which is never cut. An input size needs no
weights. Weight sharing after Once-for-all (Cai et al., ICLR 2020, arXiv:1908.09791) and
BigNAS (Yu et al., ECCV 2020, arXiv:2003.11142).
"""
import re
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmyolonas.search.space.encoding import Architecture

#: First channel and number of channels of a map within a concatenation.
Slots = List[Tuple[int, int]]
Shape = Sequence[int]

_STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


@dataclass
class _Layer:
    """What the slots of a layer depend on: the part's table and the whole's."""
    part: Architecture
    whole: Architecture
    index: int = 0

    def stages(self, where: str) -> Tuple[dict, dict]:
        return tuple(a[where]['stages'][self.index - 1] for a in (self.part, self.whole))


def _chain(part: dict, whole: dict) -> Slots:
    """Return the slots of a CSP layer's ``conv3``."""
    hidden, width = part['hidden_channels'], whole['hidden_channels']
    count = part['num_blocks']
    if not whole.get('concat_intermediates'):
        places = [0, 1]
    else:
        chain = range(count + 1) if part.get('concat_intermediates') else [count]
        places = [*chain, whole['num_blocks'] + 1]
    return [(place * width, hidden) for place in places]


def _backbone_chain(layer: _Layer) -> Slots:
    return _chain(*layer.stages('backbone'))


def _neck_chain(layer: _Layer) -> Slots:
    return _chain(*layer.stages('neck'))


def _three_maps(layer: _Layer) -> Slots:
    part, whole = (stage['out_channels'] for stage in layer.stages('neck'))
    return [(place * whole, part) for place in range(3)]


def _half_and_skip(layer: _Layer) -> Slots:
    """Return the slots of what reads a bottom-up stage's reduced map and its skip.

    The skip of neck3 is the reduced map of neck2, that of neck4 the one of neck1; both
    are as wide as their stage's output.
    """
    part, whole = (stage['out_channels'] // 2 for stage in layer.stages('neck'))
    skip = layer.part['neck']['stages'][1 if layer.index == 3 else 0]['out_channels']
    return [(0, part), (whole, skip)]


def _pools(layer: _Layer) -> Slots:
    part, whole = (a['backbone']['stages'][-1]['out_channels'] // 2
                   for a in (layer.part, layer.whole))
    count = 1 + len(layer.part['backbone']['context_kernels'])
    return [(place * whole, part) for place in range(count)]


#: Weights that read a concatenation, by the pattern of their name.
_CONCATENATED: Tuple[Tuple[str, Callable[[_Layer], Slots]], ...] = (
    (r'backbone\.stage(\d)\.blocks\.conv3\.conv\.weight', _backbone_chain),
    (r'neck\.neck(\d)\.blocks\.conv3\.conv\.weight', _neck_chain),
    (r'neck\.neck([12])\.reduce_after_concat\.conv\.weight', _three_maps),
    (r'neck\.neck([34])\.blocks\.conv[12]\.conv\.weight', _half_and_skip),
    (r'backbone\.context_module\.cv2\.conv\.weight', _pools),
)


def slots(key: str, part: Architecture, whole: Architecture) -> Optional[Slots]:
    """Return the input channels of a weight that reads a concatenation, else None.

    Args:
        key (str): Name in the state dict.
        part (dict): Architecture whose weight is wanted.
        whole (dict): Architecture that holds the weights.
    """
    for pattern, find in _CONCATENATED:
        match = re.fullmatch(pattern, key)
        if match:
            return find(_Layer(part, whole, int(match[1]) if match.groups() else 0))
    return None


def slice_tensor(key: str, tensor: Tensor, shape: Shape, part: Architecture,
                 whole: Architecture) -> Tensor:
    """Return the part of a tensor that an architecture uses.

    A view wherever the channels are adjacent; channels of several slots are joined.
    Gradients flow back either way.

    Args:
        key (str): Name in the state dict.
        tensor (Tensor): Of the whole.
        shape (Sequence[int]): What the part needs.
        part (dict): Architecture that is wanted.
        whole (dict): Architecture that holds the weights.

    Returns:
        Tensor: Of the shape.

    Raises:
        ValueError: The part is larger than the whole.
    """
    found = slots(key, part, whole) if tensor.dim() == 4 else None
    if any(need > have for need, have in zip(shape, tensor.shape)) or (
            found and found[-1][0] + found[-1][1] > tensor.shape[1]):
        raise ValueError(f'{key} of shape {tuple(shape)} is no part of {tuple(tensor.shape)}.')
    if found is None:
        return tensor[tuple(slice(size) for size in shape)]
    rows = tensor[:shape[0]]
    pieces = [rows[:, start:start + length] for start, length in found]
    # slots in a row are one piece, which needs no copy
    if all(a + n == b for (a, n), (b, _) in zip(found, found[1:])):
        return rows[:, found[0][0]:found[-1][0] + found[-1][1]]
    return torch.cat(pieces, 1)


def slice_state(state: Mapping[str, Tensor], shapes: Mapping[str, Shape], part: Architecture,
                whole: Architecture) -> Dict[str, Tensor]:
    """Return what an architecture uses of the whole's tensors.

    Args:
        state (Mapping): Tensors of the whole by name; statistics of norms may be missing.
        shapes (Mapping): What the part needs, by name; see :func:`shapes_of`.
        part (dict): Architecture that is wanted.
        whole (dict): Architecture that holds the weights.

    Raises:
        ValueError: The part is larger than the whole, or the whole lacks a tensor.
    """
    missing = [key for key in shapes if key not in state and not is_statistic(key)]
    if missing:
        raise ValueError(f'the whole has no {missing[0]}.')
    return {key: slice_tensor(key, state[key], shape, part, whole)
            for key, shape in shapes.items() if key in state}


def shapes_of(model: nn.Module) -> Dict[str, Shape]:
    """Return the shapes of a model's state, a model on the ``meta`` device included."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def is_statistic(key: str) -> bool:
    """Whether a name is that of a norm's running statistics."""
    return key.rpartition('.')[2] in _STATISTICS
