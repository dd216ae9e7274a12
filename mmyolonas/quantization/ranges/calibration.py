"""Finding the ranges of the activations."""
import re
import warnings
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional

import torch
from torch import Tensor, nn

from mmyolonas.quantization.ranges.quantizers import QuantizedModel
from mmyolonas.quantization.table import RangeTable
from mmyolonas.utils import UserError, track

if TYPE_CHECKING:
    from modelopt.torch.quantization.nn import TensorQuantizer

METHODS = ('max', 'percentile', 'mse', 'entropy')
#: Distance of the candidate ranges that the methods try, in bins of 2048: the
#: library's search by entropy takes seconds per tensor with every bin.
STRIDES = dict(mse=8, entropy=32)


@torch.no_grad()
def calibrate(quantised: QuantizedModel,
              batches: Iterable[Tensor],
              num_images: Optional[int] = None,
              method: str = 'max',
              percentile: float = 99.99) -> RangeTable:
    """Find the range of every tensor class from images, and load the ranges.

    Args:
        quantised (QuantizedModel): Model; computes in float meanwhile.
        batches (Iterable[Tensor]): Network inputs (B, 3, H, W), all of one size.
        num_images (int, optional): Exact number of images to use; None for all.
        method (str): ``'max'``; ``'percentile'`` of the absolute values;
            ``'mse'`` (least squared error); ``'entropy'`` (least divergence).
            Defaults to ``'max'``.
        percentile (float): For ``'percentile'``, in 0..100. Defaults to 99.99,
            as in SuperGradients. The network's input always has its largest value.

    Returns:
        RangeTable: The ranges.

    Raises:
        UserError: Unknown method; no image, or fewer than ``num_images``;
            images of different size; NaN or infinite activations.
    """
    if method not in METHODS:
        raise UserError(f'calibration method must be one of {", ".join(METHODS)}, '
                        f'got {method!r}.')
    if num_images is not None and num_images < 1:
        raise UserError(f'calibration needs at least one image, got num_images={num_images}.')
    quantizers = quantised.activations
    # an image has few levels and a constant border: its ends are known, not a matter of shares
    pinned = {name for name in quantizers if quantised.flow.is_input(name)}
    methods = {name: 'max' if name in pinned else method for name in quantizers}
    for name, quantizer in quantizers.items():
        _start(quantizer, 'max' if methods[name] == 'max' else 'histogram')
    outside = _Lows({name: quantizers[name] for name in pinned})
    try:
        count = _collect(quantised, batches, num_images)
    finally:
        outside.close()
        for quantizer in quantizers.values():
            quantizer.enable_quant()
            quantizer.disable_calib()
    for name in track(list(quantizers), f'ranges by {method}'):
        _load_range(name, quantizers[name], methods[name], percentile)
    quantised.apply(quantised.selection)
    label = f'percentile {percentile:g}' if method == 'percentile' else method
    table = quantised.table(label, count)
    table.nonnegative = outside.nonnegative()
    return table


class _Lows:
    """The smallest value that reaches some quantisers.

    Args:
        quantizers (dict[str, TensorQuantizer]): By name.
    """

    def __init__(self, quantizers: Dict[str, Any]) -> None:
        self.values: Dict[str, float] = {}
        self._hooks = [quantizer.register_forward_pre_hook(
            lambda _, inputs, name=name: self._see(name, inputs[0]))
            for name, quantizer in quantizers.items()]

    def _see(self, name: str, tensor: Tensor) -> None:
        self.values[name] = min(self.values.get(name, 0.), float(tensor.min()))

    def nonnegative(self) -> List[str]:
        """Return the names of those that saw no negative value."""
        return sorted(name for name, value in self.values.items() if value >= 0)

    def close(self) -> None:
        """Stop looking."""
        for hook in self._hooks:
            hook.remove()


def _start(quantizer: 'TensorQuantizer', calibrator: str) -> None:
    quantizer.set_from_attribute_config({'calibrator': calibrator})
    quantizer.enable()
    quantizer.disable_quant()
    quantizer.enable_calib()


def _collect(quantised: QuantizedModel, batches: Iterable[Tensor],
             num_images: Optional[int]) -> int:
    """Run the images through the float model; return how many."""
    count, size = 0, None
    weights = list(quantised.weights.values())
    enabled = [quantizer.is_enabled for quantizer in weights]
    for quantizer in weights:
        quantizer.disable()
    quantised.model.eval()
    try:
        for batch in track(batches, 'calibration', num_images):
            if num_images is not None:
                batch = batch[:num_images - count]
            if size is not None and batch.shape[1:] != size:
                raise UserError(
                    f'calibration images differ in size: {tuple(batch.shape[1:])} after '
                    f'{tuple(size)}; use the test pipeline of the deployed size.')
            size = batch.shape[1:]
            _run(quantised.model, batch, count + 1)
            count += len(batch)
            if count == num_images:
                break
    finally:
        for quantizer, on in zip(weights, enabled):
            if on:
                quantizer.enable()
    if not count:
        raise UserError('the calibration set is empty; check its annotation file and folder.')
    if num_images is not None and count < num_images:
        raise UserError(f'calibration asks for {num_images} images, but there are only {count}.')
    return count


def _run(model: nn.Module, batch: Tensor, number: int) -> None:
    """Run a batch, and raise a :class:`UserError` if anything is not finite."""
    message = (f'the float model gives NaN or infinite numbers for calibration image {number}; '
               'check the checkpoint and the images.')
    try:
        outputs = model(batch, None, mode='tensor')
    except (AssertionError, RuntimeError) as error:  # of modelopt's and torch's own checks
        if re.search(r'\bnan\b|\binf\b|not finite', str(error)):
            raise UserError(message) from error
        raise
    if not all(torch.isfinite(x).all() for x in _tensors(outputs)):
        raise UserError(message)


def _tensors(outputs) -> List[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    return [tensor for item in outputs for tensor in _tensors(item)]


def least_squares_range(counts: Tensor, edges: Tensor, stride: int = STRIDES['mse'],
                        start: int = 128) -> Tensor:
    """Return the range that rounds a histogram of magnitudes with the least squared error.

    modelopt 0.47's own search hands the number of bits to its rounding as an
    offset and so returns the smallest candidate for every tensor.

    Args:
        counts (Tensor): Number of values in each of N bins.
        edges (Tensor): At least N + 1 edges; a histogram that has grown may have
            one too many, by rounding.
        stride (int): Distance of the candidates in bins.
        start (int): First bin whose centre is a candidate.

    Returns:
        Tensor: Scalar, the centre of a bin.
    """
    edges = edges[:len(counts) + 1]
    centers = (edges[1:] + edges[:-1]) / 2
    candidates = centers[min(start, len(centers) - 1)::stride, None]
    step = candidates / 127
    rounded = (centers / step).round().clamp(max=127) * step
    errors = ((rounded - centers)**2 * counts).sum(1)
    return candidates[errors.argmin(), 0].float()


def _load_range(name: str, quantizer: 'TensorQuantizer', method: str, percentile: float) -> None:
    calibrator = quantizer._calibrator
    if method == 'mse':
        quantizer.amax = least_squares_range(
            torch.as_tensor(calibrator._calib_hist).double(),
            torch.as_tensor(calibrator._calib_bin_edges).double())
    elif method == 'max':
        quantizer.load_calib_amax()
    elif method == 'percentile':
        quantizer.load_calib_amax('percentile', percentile=percentile)
    else:
        quantizer.load_calib_amax(method, stride=STRIDES[method])
    if not torch.isfinite(quantizer.amax):
        raise UserError(f'the range of {name} is not finite; check the checkpoint.')
    if quantizer.amax <= 0:
        warnings.warn(f'{name} was zero in every calibration image (dead channels?); '
                      'its range is set to 1.', stacklevel=3)
        quantizer.amax = torch.tensor(1.)
    calibrator.reset()
