"""NVIDIA's quantiser library, imported where it is first needed."""
import importlib
import warnings
from types import ModuleType

INSTALL = 'pip install nvidia-modelopt requests huggingface_hub'


def quantizer_module() -> ModuleType:
    """Return ``modelopt.torch.quantization``.

    Raises:
        ImportError: It is not installed; the message has the command.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of its CUDA kernels and optional parts
            return importlib.import_module('modelopt.torch.quantization')
    except ImportError as error:
        raise ImportError(f'Quantisation needs nvidia-modelopt ({error}). '
                          f'Install it with: {INSTALL}') from error
