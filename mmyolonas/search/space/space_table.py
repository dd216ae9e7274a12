"""The tables of what an architecture may be: one row for each choice.

A row is a name and the values it may take, in their natural order. Every
combination of values is a valid architecture, no two combinations are the same
one, and the published models are among them. Numbers are channels unless the
name says otherwise; ``input_size`` is added by :class:`~mmyolonas.search.space.space.Space`.

The kind of a block is no choice: a QARepVGG block and a plain convolution are the same
operator once they are fused, so nothing that is measured on a device tells them apart.
Every part has the block of the published models (:data:`BLOCKS`). Attention stays an
operator of its own and is a choice.
"""
from dataclasses import dataclass
from typing import Tuple, Union

Value = Union[int, bool, str]

#: Block of the bottlenecks, as published: re-parameterised in the backbone's stages and in the
#: neck's top-down stages, plain convolutions in its bottom-up stages.
BLOCKS = dict(stage1='qarepvgg', stage2='qarepvgg', stage3='qarepvgg', stage4='qarepvgg',
              neck1='qarepvgg', neck2='qarepvgg', neck3='conv', neck4='conv')
#: Squeezed over all channels where a stage has attention (squeeze and excitation).
ATTENTION_RATIO = 0.25
#: Kernels of the context module behind stage 4.
CONTEXTS = {'none': None, 'spp5': (5, ), 'spp5-9-13': (5, 9, 13)}


@dataclass(frozen=True)
class Gene:
    """One choice.

    Args:
        name (str): Name, such as ``stage3.blocks``.
        values (tuple): What may be chosen, in order.
    """
    name: str
    values: Tuple[Value, ...]

    @property
    def ordered(self) -> bool:
        """bool: Whether the values are numbers, so that neighbours are alike."""
        return not isinstance(self.values[0], (str, bool))


def _genes(**rows: tuple) -> Tuple[Gene, ...]:
    return tuple(Gene(name.replace('__', '.'), values) for name, values in rows.items())


_BOTH = (False, True)

#: Backbone and neck, the same for boxes and poses.
TRUNK = _genes(
    stem=(24, 32, 40, 48, 64),
    stage1__channels=(48, 64, 80, 96, 128),
    stage1__blocks=(1, 2, 3),
    stage1__hidden=(16, 32, 48, 64, 96),
    stage1__attention=_BOTH,
    stage1__concat=_BOTH,
    stage2__channels=(96, 128, 160, 192, 256),
    stage2__blocks=(1, 2, 3, 4),
    stage2__hidden=(32, 48, 64, 96, 128),
    stage2__attention=_BOTH,
    stage2__concat=_BOTH,
    stage3__channels=(192, 256, 320, 384, 448),
    stage3__blocks=(2, 3, 4, 5, 6),
    stage3__hidden=(48, 64, 96, 128, 192, 256),
    stage3__attention=_BOTH,
    stage3__concat=_BOTH,
    stage4__channels=(256, 384, 512, 640, 768),
    stage4__blocks=(1, 2, 3),
    stage4__hidden=(96, 128, 192, 256, 384, 512),
    stage4__attention=_BOTH,
    stage4__concat=_BOTH,
    context=tuple(CONTEXTS),
    neck1__channels=(96, 128, 160, 192),
    neck1__blocks=(1, 2, 3, 4),
    neck1__hidden=(32, 48, 64, 96, 128, 192),
    neck2__channels=(48, 64, 80, 96, 128),
    neck2__blocks=(1, 2, 3, 4),
    neck2__hidden=(32, 48, 64, 96, 128),
    neck3__channels=(96, 128, 160, 192),
    neck3__blocks=(1, 2, 3, 4),
    neck3__hidden=(32, 48, 64, 96, 128, 192),
    neck4__channels=(192, 256, 320, 384),
    neck4__blocks=(1, 2, 3, 4),
    neck4__hidden=(48, 64, 96, 128, 192, 256),
)

#: Head for boxes: width of each level (stride 8, 16, 32), 3x3 convolutions of each branch.
DETECTION_HEAD = _genes(
    head8__channels=(32, 48, 64, 96, 128),
    head16__channels=(64, 96, 128, 192, 256),
    head32__channels=(96, 128, 192, 256, 384, 512),
    head__convs=(0, 1, 2),
)

#: Head for poses: the path of the boxes, the path of the key points, and their stem.
POSE_HEAD = _genes(
    head8__channels=(32, 48, 64, 96, 128),
    head16__channels=(64, 88, 128, 192, 256),
    head32__channels=(128, 168, 256, 384, 512),
    head__convs=(0, 1, 2),
    head8__pose_channels=(32, 48, 64, 96, 128),
    head16__pose_channels=(96, 168, 256, 384, 512),
    head32__pose_channels=(96, 168, 256, 384, 512),
    head8__pose_convs=(1, 2, 3),
    head16__pose_convs=(1, 2, 3),
    head32__pose_convs=(1, 2, 3, 4),
    head__shared_stem=_BOTH,
)

TABLES = dict(detection=TRUNK + DETECTION_HEAD, pose=TRUNK + POSE_HEAD)
#: Sides of the square network input in pixels, if none are given.
INPUT_SIZES = (320, 416, 512, 640)
PUBLISHED = dict(detection=('s', 'm', 'l'), pose=('n', 's', 'm', 'l'))
