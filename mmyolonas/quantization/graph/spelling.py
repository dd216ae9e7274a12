"""How the runtimes want their 8-bit tensors written."""
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
