"""A model as it is when it is exported, for as long as it is looked at."""
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from torch import nn

from mmyolonas.export.fusion import shortcuts_fold
from mmyolonas.models.layers import QARepVGGBlock


@contextmanager
def as_exported(model: nn.Module) -> Iterator[None]:
    """Let a model compute what its exported form does, without changing a weight.

    Blocks are one convolution, shortcuts have no scale where export folds it, and
    nothing is in training mode. The input is a map of :mod:`operators`.
    """
    modes = {module: module.training for module in model.modules() if module.training}
    replaced = []
    try:
        for module in modes:
            module.training = False
        for module in model.modules():
            if isinstance(module, QARepVGGBlock) and not module.is_fused:
                module.forward = _fused_forward(module)
                replaced.append(module)
            elif shortcuts_fold(module):
                for bottleneck in module.bottlenecks:
                    bottleneck.forward = _plain_bottleneck(bottleneck)
                    replaced.append(bottleneck)
        yield
    finally:
        for module in replaced:
            del module.forward
        for module in modes:
            module.training = True


def _fused_forward(block: QARepVGGBlock) -> Callable[[Any], Any]:
    """Return the forward of the block's one convolution."""

    def forward(x: Any) -> Any:
        y = x.recorder.convolution(x, block.out_channels, 3, block.stride, block.groups)
        return block.attention(block.act(y))

    return forward


def _plain_bottleneck(bottleneck: nn.Module) -> Callable[[Any], Any]:
    """Return the forward of a bottleneck whose scale went into its neighbours."""
    return lambda x: x + bottleneck.cv2(bottleneck.cv1(x))
