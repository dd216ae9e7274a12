from .batch_random_resize import BatchRandomResize

__all__ = ['BatchRandomResize']
