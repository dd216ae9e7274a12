"""Repairs for other packages' versions, applied by ``import mmyolonas``.

Nothing else in mmyolonas knows what a version of another package breaks. Each
repair is a function of its own that tests whether the feature works, never a
version string: it returns why it was applied, or None where nothing was to be
done. :func:`repairs` lists what happened, ``python -m mmyolonas.doctor``
prints it.
"""
# Importing these modules registers their repairs, in the order of the imports.
from mmyolonas.compat import noise, mmcv_ops, host_packages  # isort: skip
from mmyolonas.compat import mmpose_drawing, config_paths, clients  # isort: skip
from mmyolonas.compat import torch_apis, config_text  # isort: skip
from mmyolonas.compat.core import Repair, has_module, repairs, setup
from mmyolonas.compat.mmcv_ops import COMPILED_MMCV, OpNotAvailableError
from mmyolonas.compat.torch_apis import export_with_torchscript

__all__ = [
    'COMPILED_MMCV', 'OpNotAvailableError', 'Repair', 'clients', 'config_paths', 'config_text',
    'export_with_torchscript', 'has_module', 'host_packages', 'mmcv_ops', 'mmpose_drawing',
    'noise', 'repairs', 'setup', 'torch_apis'
]
