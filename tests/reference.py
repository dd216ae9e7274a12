"""Reference networks: our modules filled with the published reference's weights.

``reference_weights.py`` draws every tensor from its SuperGradients key, so a
model is filled by translating our keys; the numbers in ``tests/data`` were
measured on the original with the same weights.
"""
import re
from pathlib import Path

import torch
from torch import nn

from tests.reference_weights import reference_image, reference_tensor

DATA = Path(__file__).parent / 'data'


def supergradients_key(key: str) -> str:
    """Return the SuperGradients name of one of our state-dict entries."""
    head = re.match(r'(?:bbox_)?head\.levels\.(\d)\.(.*)', key)
    if head is None:
        return key
    rest = re.sub(r'^(\w*stem|(?:cls|reg|pose)_convs\.\d)\.', r'\1.seq.', head[2])
    return f'heads.head{int(head[1]) + 1}.{rest}'


def fill_with_reference_weights(model: nn.Module) -> nn.Module:
    """Load the reference weights into a model and put it into evaluation mode."""
    state = {
        key: torch.from_numpy(reference_tensor(supergradients_key(key), value.shape))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state, strict=True)
    return model.eval()


def reference_input(fixture) -> torch.Tensor:
    """Return the network input that belongs to a fixture of outputs."""
    height, width, seed = (int(fixture[k]) for k in ('height', 'width', 'input_seed'))
    return torch.from_numpy(reference_image(2, height, width, seed))


def split_levels(flat: torch.Tensor, height: int, width: int, strides=(8, 16, 32)) -> list:
    """Split (B, L, C) into per-level maps (B, C, H, W)."""
    sizes = [(height // s, width // s) for s in strides]
    parts = flat.split([h * w for h, w in sizes], dim=1)
    return [x.transpose(1, 2).unflatten(2, size) for x, size in zip(parts, sizes)]
