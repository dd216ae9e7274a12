"""Between a choice for each gene and the tables that the models are built from."""
from typing import Any, Dict, List, Sequence

from mmyolonas.search.space.space_table import ATTENTION_RATIO, BLOCKS, CONTEXTS, Value
from mmyolonas.utils.errors import UserError

#: Values by name of the gene: a point of the space.
Genome = Dict[str, Value]
#: ``task``, ``backbone``, ``neck``, ``head`` (arguments of the classes) and ``input_size``.
Architecture = Dict[str, Any]

LEVELS = (8, 16, 32)
_CONTEXT_NAMES = {kernels: name for name, kernels in CONTEXTS.items()}


def decode(genome: Genome, task: str) -> Architecture:
    """Return the tables of an architecture.

    Args:
        genome (dict): A value for each gene.
        task (str): ``'detection'`` or ``'pose'``.

    Returns:
        dict: ``task``; ``backbone`` and ``neck``, tables for ``arch`` of
        :class:`YOLONASBackbone` and :class:`YOLONASPAN`; ``head``, arguments of
        the head; ``input_size``, the side of the input in pixels.
    """
    stages = [_stage(genome, f'stage{index}') for index in range(1, 5)]
    channels = [stage['out_channels'] for stage in stages]
    neck = [_neck_stage(genome, f'neck{index}') for index in range(1, 5)]
    head: Dict[str, Any] = dict(
        in_channels=[stage['out_channels'] for stage in neck[1:]],
        feat_channels=[genome[f'head{stride}.channels'] for stride in LEVELS])
    if task == 'detection':
        head.update(num_convs=genome['head.convs'])
    else:
        head.update(
            pose_channels=[genome[f'head{stride}.pose_channels'] for stride in LEVELS],
            num_pose_convs=[genome[f'head{stride}.pose_convs'] for stride in LEVELS],
            num_bbox_convs=genome['head.convs'], shared_stem=genome['head.shared_stem'])
    kernels = CONTEXTS[genome['context']]
    return dict(
        task=task,
        backbone=dict(
            stem_channels=genome['stem'], stages=stages, context_channels=channels[-1],
            context_kernels=None if kernels is None else list(kernels)),
        neck=dict(in_channels=channels, stages=neck), head=head,
        input_size=genome['input_size'])


def _stage(genome: Genome, name: str) -> Dict[str, Any]:
    ratio = ATTENTION_RATIO if genome[f'{name}.attention'] else None
    return dict(
        out_channels=genome[f'{name}.channels'], num_blocks=genome[f'{name}.blocks'],
        hidden_channels=genome[f'{name}.hidden'], concat_intermediates=genome[f'{name}.concat'],
        block=BLOCKS[name], attention_ratio=ratio)


def _neck_stage(genome: Genome, name: str) -> Dict[str, Any]:
    return dict(
        out_channels=genome[f'{name}.channels'], num_blocks=genome[f'{name}.blocks'],
        hidden_channels=genome[f'{name}.hidden'], block=BLOCKS[name])


def encode(architecture: Architecture) -> Genome:
    """Return the choices behind tables; what a table leaves out has the class's default.

    Args:
        architecture (dict): As :func:`decode` returns it.

    Raises:
        UserError: It has a property that no gene stands for.
    """
    backbone, neck, head = (architecture[key] for key in ('backbone', 'neck', 'head'))
    channels = [stage['out_channels'] for stage in backbone['stages']]
    kernels = backbone.get('context_kernels', (5, 9, 13))
    kernels = None if kernels is None else tuple(kernels)
    _expect(kernels in _CONTEXT_NAMES, f'a context module with kernels {kernels}')
    _expect(kernels is None or backbone['context_channels'] == channels[-1],
            'a context module that changes the number of channels')
    _expect(list(neck['in_channels']) == channels, 'a neck of other input channels')
    _expect(list(head['in_channels']) == [s['out_channels'] for s in neck['stages'][1:]],
            'a head of other input channels')
    genome: Genome = dict(stem=backbone['stem_channels'])
    for index, stage in enumerate(backbone['stages'], 1):
        genome.update(_encode_stage(stage, f'stage{index}', 'qarepvgg'))
        ratio = stage.get('attention_ratio')
        _expect(ratio in (None, ATTENTION_RATIO), f'attention of ratio {ratio}')
        genome[f'stage{index}.attention'] = ratio is not None
        genome[f'stage{index}.concat'] = bool(stage.get('concat_intermediates', False))
    genome['context'] = _CONTEXT_NAMES[kernels]
    for index, stage in enumerate(neck['stages'], 1):
        genome.update(_encode_stage(stage, f'neck{index}', 'qarepvgg' if index < 3 else 'conv'))
    genome.update(_encode_head(head, architecture['task']))
    return dict(genome, input_size=architecture['input_size'])


def _encode_stage(stage: dict, name: str, block: str) -> Genome:
    block = stage.get('block', block)
    _expect(block == BLOCKS[name], f'blocks {block} in {name} (they deploy as {BLOCKS[name]} do)')
    _expect(not stage.get('drop_path_rate'), 'drop path')
    return {f'{name}.channels': stage['out_channels'], f'{name}.blocks': stage['num_blocks'],
            f'{name}.hidden': stage['hidden_channels']}


def _encode_head(head: dict, task: str) -> Genome:
    genome = _per_level('channels', head['feat_channels'])
    if task == 'detection':
        return dict(genome, **{'head.convs': head.get('num_convs', 1)})
    genome['head.convs'] = head.get('num_bbox_convs', 1)
    genome.update(_per_level('pose_channels', head['pose_channels']))
    genome.update(_per_level('pose_convs', head['num_pose_convs']))
    return dict(genome, **{'head.shared_stem': bool(head.get('shared_stem', False))})


def _per_level(name: str, values: Sequence[int]) -> Genome:
    return {f'head{stride}.{name}': value for stride, value in zip(LEVELS, values)}


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise UserError(f'the space has no architectures with {what}.')


def describe(genome: Genome) -> str:
    """Return an architecture in one line: blocks x channels (hidden) of each stage.

    ``a`` marks attention, ``+`` the concatenation of all intermediates.
    """
    def stage(name: str) -> str:
        mark = 'a' if genome.get(f'{name}.attention') else ''
        concat = '+' if genome.get(f'{name}.concat') else ''
        return f'{genome[f"{name}.blocks"]}{mark}{concat}x{genome[f"{name}.channels"]}' \
               f'({genome[f"{name}.hidden"]})'

    parts: List[str] = [f'stem {genome["stem"]}', 'backbone ' + ' '.join(
        stage(f'stage{i}') for i in range(1, 5)), genome['context'], 'neck ' + ' '.join(
            stage(f'neck{i}') for i in range(1, 5))]
    head = '/'.join(str(genome[f'head{stride}.channels']) for stride in LEVELS)
    return ', '.join([*parts, f'head {genome["head.convs"]}x{head}',
                      f'{genome["input_size"]} px'])
