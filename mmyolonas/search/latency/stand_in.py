"""What torch's functions take for a tensor, to follow a model without computing it."""
from typing import Any, Sequence

import torch


class StandIn:
    """Base of what stands for a (1, channels, height, width) map; gives ``shape``."""

    device = torch.device('meta')
    dtype = torch.float32

    def size(self) -> Sequence[int]:
        """Return the shape."""
        return self.shape

    def dim(self) -> int:
        """Return the number of axes."""
        return 4

    def contiguous(self, **_: Any) -> 'StandIn':
        """Return the map; the order of memory is not kept."""
        return self


def function_name(func: Any) -> str:
    """Return the name of what ``__torch_function__`` is asked for, without underscores."""
    return getattr(func, '__name__', str(func)).strip('_')
