from .batch_growing_resize import BatchGrowingResize
from .batch_random_resize import BatchRandomResize

__all__ = ['BatchGrowingResize', 'BatchRandomResize']
