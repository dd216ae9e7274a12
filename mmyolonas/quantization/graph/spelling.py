"""How runtimes want 8-bit tensors to be written.

* TensorRT: signed, zero point 0.
* ONNX Runtime on x86 and OpenVINO: unsigned, shifted by 128, or not shifted where the tensor
  cannot be negative: its kernels multiply unsigned by signed bytes, and a
  convolution absorbs the ReLU behind it only if the zero point is the smallest
  value of the type. With ``span='full'`` a tensor that cannot be negative has 255
  steps from zero to the end of its range; with ``'equal'`` 127, as the signed one,
  where it is clipped, so that all spellings mean the same numbers. Processors without
  VNNI add two products of bytes in 16 bit, for which 255 steps are too many. For ONNX Runtime
  an image of
  three channels is padded to four, since its fast kernels take multiples of four.
  OpenVINO reads signed pairs too, but on processors without AMX its
  low-precision transformations then compute a convolution behind a
  concatenation wrongly, by up to a tenth of the range.
"""
from dataclasses import dataclass, replace

from mmyolonas.utils import UserError

#: Steps from zero to the end of the range; where it is unsigned and full; both spans.
STEPS = 127
FULL_STEPS = 255
SPANS = ('full', 'equal')


@dataclass(frozen=True)
class Spelling:
    """How 8-bit tensors are written.

    Args:
        unsigned (bool): uint8 instead of int8.
        saturate (bool): Unsigned: clip at 127 steps, where int8 ends.
        full (bool): Unsigned: 255 steps where a tensor cannot be negative.
        channel_multiple (int): Pad the channels a convolution reads to a multiple.
    """
    unsigned: bool = False
    saturate: bool = False
    full: bool = False
    channel_multiple: int = 1


SPELLINGS = dict(
    tensorrt=Spelling(),
    tensorrt_rtx=Spelling(),
    openvino=Spelling(unsigned=True, saturate=True),
    onnxruntime=Spelling(unsigned=True, saturate=True, channel_multiple=4))


def spelling_of(runtime: str, span: str = 'full') -> Spelling:
    """Return how a runtime wants its 8-bit tensors.

    Args:
        runtime (str): See :func:`insert_qdq`.
        span (str): See :func:`insert_qdq`. Defaults to ``'full'``.

    Raises:
        UserError: A runtime without 8 bit, or an unknown span.
    """
    if span not in SPANS:
        raise UserError(f'the span of 8-bit tensors must be one of {", ".join(SPANS)}, '
                        f'got {span!r}.')
    if runtime not in SPELLINGS:
        raise UserError(f'there is no 8-bit form for the runtime {runtime!r}; '
                        f'there is one for {", ".join(sorted(SPELLINGS))}.')
    spelling = SPELLINGS[runtime]
    if span == 'full' and spelling.unsigned:
        return replace(spelling, saturate=False, full=True)
    return spelling
