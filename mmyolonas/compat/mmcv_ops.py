"""A stand-in for ``mmcv._ext``, the compiled half of mmcv.

mmcv-lite has every Python file of mmcv but that extension, and ``mmcv.ops``
refuses to import without it. torchvision has the operators that detection and
pose need.
"""
import sys
from collections.abc import Callable
from types import ModuleType

from mmyolonas.compat.core import has_module, offer, repair

#: How to get every compiled mmcv operator; said wherever one is missing.
COMPILED_MMCV = (
    "pip uninstall -y mmcv-lite && pip install 'setuptools<81' ninja && "
    'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv '
    "'mmcv>=2.0.1,<2.2'")


class OpNotAvailableError(NotImplementedError):
    """An operator of compiled mmcv was called that the stand-in lacks."""

    def __init__(self, op: str):
        super().__init__(
            f"mmcv operator '{op}' needs compiled mmcv, but mmcv-lite is "
            'installed and mmyolonas supplies only NMS and average RoIAlign '
            f'(from torchvision). Get compiled mmcv with: {COMPILED_MMCV}')
        self.op = op


@repair('mmcv._ext', 'mmcv-lite 2.x')
def offer_mmcv_ext() -> str | None:
    """Offer the stand-in where mmcv has no compiled half."""
    if 'mmcv._ext' in sys.modules or not has_module('mmcv') or has_module(
            'mmcv._ext'):
        return None
    offer('mmcv._ext', _fill_mmcv_ext)
    return ('mmcv is installed without its compiled operators: NMS and '
            'RoIAlign come from torchvision, every other operator names the '
            'cure when it is called')


def _fill_mmcv_ext(module: ModuleType) -> None:
    module.__doc__ = 'Stand-in for mmcv._ext by mmyolonas.'
    module.nms = _nms
    module.roi_align_forward = _roi_align_forward
    module.roi_align_backward = _roi_align_backward
    module.get_compiler_version = lambda: 'n/a (mmyolonas stand-in)'
    module.get_compiling_cuda_version = lambda: 'n/a (mmyolonas stand-in)'

    def missing(op: str) -> Callable:
        if op.startswith('__'):
            raise AttributeError(op)

        def refuse(*args, **kwargs):
            raise OpNotAvailableError(op)

        return refuse

    module.__getattr__ = missing


def _nms(boxes, scores, iou_threshold: float, offset: int = 0):
    """Indices of the boxes that greedy NMS keeps, by falling score.

    Args:
        boxes (Tensor): (N, 4) xyxy, pixels.
        scores (Tensor): (N,).
        iou_threshold: A box above this IoU with a kept one is dropped.
        offset: 1 counts the last pixel in (width is x2 - x1 + 1), else 0.

    Returns:
        Tensor: (K,) int64.
    """
    import torch
    from torchvision.ops import nms
    # torchvision's CPU kernel knows no half precision and wants one dtype.
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes, scores = boxes.detach().to(dtype), scores.detach().to(dtype)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return nms(boxes, scores, iou_threshold)


def _roi_align_forward(input,
                       rois,
                       output,
                       argmax_y,
                       argmax_x,
                       *,
                       aligned_height: int,
                       aligned_width: int,
                       spatial_scale: float,
                       sampling_ratio: int,
                       pool_mode: int,
                       aligned: bool) -> None:
    """Fill ``output`` (R, C, H, W) in place; rois are (R, 5), image first."""
    from torchvision.ops import roi_align
    if pool_mode != 1:
        raise OpNotAvailableError('roi_align (pool_mode="max")')
    output.copy_(
        roi_align(input, rois.to(input.dtype),
                  (aligned_height, aligned_width), spatial_scale,
                  sampling_ratio, aligned))


def _roi_align_backward(grad_output,
                        rois,
                        argmax_y,
                        argmax_x,
                        grad_input,
                        *,
                        aligned_height: int,
                        aligned_width: int,
                        spatial_scale: float,
                        sampling_ratio: int,
                        pool_mode: int,
                        aligned: bool) -> None:
    """Fill ``grad_input`` (B, C, H, W) in place, the forward's counterpart."""
    import torch
    import torchvision  # noqa: F401, registers the operator
    if pool_mode != 1:
        raise OpNotAvailableError('roi_align (pool_mode="max")')
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output, rois.to(grad_output.dtype), spatial_scale,
            aligned_height, aligned_width, *grad_input.shape, sampling_ratio,
            aligned))
