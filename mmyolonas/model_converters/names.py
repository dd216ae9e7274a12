"""How SuperGradients and this project name the same tensor.

Backbone and neck have the same names. The heads differ::

    heads.head{1,2,3}.<layer>.seq.{conv,bn}   bbox_head.levels.{0,1,2}.<layer>.{conv,bn}
    heads.head{1,2,3}.<x>_pred                bbox_head.levels.{0,1,2}.<x>_pred

(``head.levels`` in pose models). All models follow these rules; what a size
is made of does not matter here. Source: reference.md 13.2.
"""
import re
from typing import Dict, Iterable, List, Optional

#: Prefix of the head by kind of model.
HEADS = dict(detection='bbox_head', pose='head')

_SG_HEAD = re.compile(r'heads\.head(\d)\.(\w+)\.(.+)')
_MM_HEAD = re.compile(r'(?:bbox_)?head\.levels\.(\d)\.(\w+)\.(.+)')

# What stands in front of what in the original's state dict, among siblings.
_SIBLINGS = {
    'detection': ('stem', 'cls_convs', 'reg_convs', 'cls_pred', 'reg_pred'),
    'pose': ('pose_stem', 'bbox_stem', 'cls_convs', 'reg_convs', 'pose_convs', 'reg_pred',
             'cls_pred', 'pose_pred'),
}
_ORDER = ('backbone', 'neck', 'heads', 'stem', 'stage1', 'stage2', 'stage3', 'stage4',
          'context_module', 'reduce_skip1', 'reduce_skip2', 'branch_3x3', 'conv', 'bn', 'upsample',
          'downsample', 'reduce_after_concat', 'blocks', 'conv1', 'conv2', 'conv3', 'bottlenecks',
          'alpha', 'cv1', 'cv2', 'branch_1x1', 'post_bn', 'rbr_reparam', 'weight', 'bias',
          'running_mean', 'running_var', 'num_batches_tracked')


def to_mm_key(key: str, kind: str) -> Optional[str]:
    """Return our name of a SuperGradients key, or None if there is none.

    Args:
        key (str): Name in the original.
        kind (str): 'detection' or 'pose'.
    """
    if key.startswith(('backbone.', 'neck.')):
        return key
    match = _SG_HEAD.fullmatch(key)
    if match is None:
        return None
    level, layer, rest = int(match[1]) - 1, match[2], match[3]
    if layer.endswith('_convs'):
        index, _, rest = rest.partition('.')
        layer = f'{layer}.{index}'
    return f'{HEADS[kind]}.levels.{level}.{layer}.{rest.removeprefix("seq.")}'


def to_sg_key(key: str) -> Optional[str]:
    """Return SuperGradients' name of one of our keys, or None if there is none."""
    if key.startswith(('backbone.', 'neck.')):
        return key
    match = _MM_HEAD.fullmatch(key)
    if match is None:
        return None
    layer, rest = match[2], match[3]
    if layer.endswith('_convs'):
        index, _, rest = rest.partition('.')
        layer = f'{layer}.{index}'
    if not layer.endswith('_pred'):
        rest = f'seq.{rest}'
    return f'heads.head{int(match[1]) + 1}.{layer}.{rest}'


def kind_of(keys: Iterable[str]) -> str:
    """Return 'pose' if there are key-point layers among the keys, else 'detection'."""
    return 'pose' if any('.pose_pred.' in key for key in keys) else 'detection'


def sg_order(keys: Iterable[str], kind: str) -> List[str]:
    """Return SuperGradients keys in the order of the original's state dict."""
    rank: Dict[str, int] = {name: i for i, name in enumerate(_ORDER)}
    head_rank = {name: i for i, name in enumerate(_SIBLINGS[kind])}

    def place(key: str) -> list:
        parts = key.split('.')
        ranks = head_rank if parts[0] == 'heads' else {}
        return [(int(re.sub(r'\D', '', part) or 0), 0) if re.fullmatch(
            r'\d+|head\d|neck\d', part) else (ranks.get(part, rank.get(part, len(rank))), 1)
            for part in parts]

    return sorted(keys, key=place)
