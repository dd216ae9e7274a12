"""How much memory there is, and how much a training takes."""
from pathlib import Path
from typing import Optional

import torch
from torch import nn

_COPIES = 5  # of the weights: themselves, gradients, two moments of AdamW, their average
_MARGIN = 1.6  # gradients of activations, loss, workspaces


def available_memory(device: str = 'cpu') -> int:
    """Return the bytes that are free on a device.

    Args:
        device (str): 'cpu' or a CUDA device. On a CPU a container's limit counts.
    """
    if device.startswith('cuda'):
        return torch.cuda.mem_get_info(device)[0]
    values = [value for value in (_meminfo(), _container_rest()) if value is not None]
    # an unknown system: a modest machine
    return min(values, default=4 << 30)


def _meminfo() -> Optional[int]:
    path = Path('/proc/meminfo')
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) * 1024
    return None


def _container_rest() -> Optional[int]:
    """Return what a control group (version 2) leaves."""
    try:
        limit = Path('/sys/fs/cgroup/memory.max').read_text().strip()
        used = int(Path('/sys/fs/cgroup/memory.current').read_text())
    except (OSError, ValueError):
        return None
    return None if limit == 'max' else max(0, int(limit) - used)


def saved_bytes_per_pixel(model: nn.Module, size: int = 96) -> float:
    """Return the bytes that a training step keeps for each pixel of its input.

    Everything that autograd saves in one forward pass is added up. In a
    convolutional network it grows with the number of pixels, so a small image
    tells.

    Args:
        model (nn.Module): A single-stage detector or pose model; its mode is kept.
        size (int): Side of the image in pixels. Defaults to 96.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # or its address could be used again
        return tensor

    kept: list = []
    training = model.training
    device = next(model.parameters()).device
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        head = model.bbox_head if hasattr(model, 'bbox_head') else model.head
        output = head(model.extract_feat(torch.zeros(1, 3, size, size, device=device)))
    del output
    model.train(training)
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    return sum(seen.values()) / size**2


def training_memory(model: nn.Module, pixels: int, per_pixel: Optional[float] = None) -> int:
    """Return the bytes that a training in single precision needs.

    Args:
        model (nn.Module): The model.
        pixels (int): Of a whole batch.
        per_pixel (float, optional): From :func:`saved_bytes_per_pixel`.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    per_pixel = saved_bytes_per_pixel(model) if per_pixel is None else per_pixel
    return int(_COPIES * weights + _MARGIN * per_pixel * pixels)
