"""Does a checkpoint belong to a model, and if not, in what way?"""
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from torch import Tensor

from mmyolonas.utils.errors import UserError

#: Layers whose width depends on the classes or key points, by module name.
PREDICTION_LAYER = re.compile(r'(?:^|\.)(?:cls_pred|pose_pred|class_embed|fc_reg|\w+_cls)\.')


@dataclass
class StateMatch:
    """What agrees between a model's state dict and a checkpoint's.

    Args:
        matched: Keys that agree in name and shape.
        classes: Keys of prediction layers whose number of outputs differs.
        reshaped: Other keys of different shape, as (key, checkpoint's shape,
            model's shape).
        missing: Keys of the model that the checkpoint lacks.
        unexpected: Keys of the checkpoint that the model lacks.
    """
    matched: List[str] = field(default_factory=list)
    classes: List[str] = field(default_factory=list)
    reshaped: List[Tuple[str, tuple, tuple]] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)
    unexpected: List[str] = field(default_factory=list)


def match_state(model_state: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> StateMatch:
    """Compare a checkpoint's state dict with a model's by name and shape."""
    result = StateMatch()
    for key, value in model_state.items():
        if key not in state:
            # a counter that nothing depends on; mmengine tolerates its absence too
            if not key.endswith('num_batches_tracked'):
                result.missing.append(key)
        elif state[key].shape == value.shape:
            result.matched.append(key)
        elif PREDICTION_LAYER.search(key) and state[key].shape[1:] == value.shape[1:]:
            result.classes.append(key)
        else:
            result.reshaped.append((key, tuple(state[key].shape), tuple(value.shape)))
    result.unexpected = [key for key in state if key not in model_state]
    return result


def state_of(checkpoint: Mapping[str, Any], source: str = 'the checkpoint') -> Dict[str, Tensor]:
    """Return the state dict of a loaded checkpoint file.

    A uniform ``module.`` prefix is stripped.

    Args:
        checkpoint (Mapping): What was in the file.
        source (str): Name of the file, for messages.

    Raises:
        UserError: It is a SuperGradients file, or holds no tensors.
    """
    if not isinstance(checkpoint, Mapping):
        raise UserError(f'{source} holds a {type(checkpoint).__name__}, not a checkpoint.')
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, Mapping):
        raise UserError(f'{source} is no checkpoint of a model: its state_dict is a '
                        f'{type(state).__name__}.')
    if 'net' in checkpoint or 'ema_net' in checkpoint or any(
            str(key).startswith(('heads.head1.', 'module.heads.head1.')) for key in state):
        raise UserError(
            f'{source} is a SuperGradients checkpoint; convert it first: '
            f'python tools/model_converters/sg2mm.py {source} converted.pth')
    state = {key: value for key, value in state.items()
             if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise UserError(f'{source} holds no tensors; it is not a checkpoint of a model.')
    if all(key.startswith('module.') for key in state):
        state = {key[len('module.'):]: value for key, value in state.items()}
    return state


def meta_of(checkpoint: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the ``meta`` of a loaded checkpoint; empty where there is none."""
    meta = checkpoint.get('meta')
    return dict(meta) if isinstance(meta, Mapping) else {}


def check_match(match: StateMatch, source: str, strict_shapes: bool = True,
                whole: Sequence[str] = ()) -> None:
    """Raise if a checkpoint is of another architecture.

    Args:
        match (StateMatch): The comparison.
        source (str): Name of the checkpoint, for the message.
        strict_shapes (bool): Whether tensors of the same name must have the
            same shape (prediction layers excepted). Defaults to True.
        whole (Sequence[str]): Parts of the model that must agree in any case.

    Raises:
        UserError: Nothing agrees, shapes differ, or the blocks are fused.
    """
    total = len(match.matched) + len(match.classes) + len(match.reshaped) + len(match.missing)
    fused = [key for key in match.unexpected if '.rbr_reparam.' in key]
    if fused and any('.branch_3x3.' in key for key in match.missing):
        raise UserError(
            f'{source} holds re-parameterised blocks (for deployment), which a model in its '
            'training form cannot load; use the checkpoint that training saved, or call '
            'model.switch_to_deploy() before loading.')
    lacking = [key for key in (*match.missing, *(key for key, _, _ in match.reshaped))
               if key.partition('.')[0] in whole]
    if lacking:
        raise UserError(
            f'{source} is of another architecture: it does not give {len(lacking)} tensors of '
            f'{" and ".join(whole)}, which are to be kept as they are, for example {lacking[0]}. '
            'Give a checkpoint of the model that they are of.')
    if match.reshaped and strict_shapes:
        key, given, wanted = match.reshaped[0]
        raise UserError(
            f'{source} is of another architecture: {len(match.reshaped)} of {total} tensors have '
            f'other shapes, for example {key} is {given} there and {wanted} in the model. Use the '
            "config of the same size (s, m, l, n), or set strict_shapes=False in the config's "
            'CheckpointMatchHook to load what fits.')
    if not match.matched:
        raise UserError(
            f'{source} is of another architecture: none of its {len(match.unexpected)} tensors '
            f'has a place in the model (for example {(match.unexpected or ["nothing"])[0]}).')


def describe_match(match: StateMatch, source: str) -> str:
    """Return one or two sentences on what was loaded and what was not."""
    parts = [f'{source}: {len(match.matched)} tensors loaded']
    if match.classes:
        layers = sorted({key.rsplit('.', 1)[0] for key in match.classes})
        parts.append(
            f'the number of classes or key points differs, so {", ".join(layers)} '
            'keep their initial weights and everything else is taken')
    if match.reshaped:
        parts.append(f'{len(match.reshaped)} tensors of other shapes are left out')
    for keys, what in ((match.missing, 'are not in the checkpoint and keep initial weights'),
                       (match.unexpected, 'have no place in the model and are dropped')):
        if keys:
            rooms = sorted({key.split('.')[0] for key in keys})
            parts.append(f'{len(keys)} tensors of {", ".join(rooms)} {what}')
    return '; '.join(parts) + '.'
