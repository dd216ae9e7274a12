"""SuperGradients checkpoints into ours, and back."""
from collections import OrderedDict
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
from torch import Tensor, nn

from mmyolonas.model_converters import processing
from mmyolonas.model_converters.architecture import (
    Architecture,
    block_infos,
    infer_architecture,
)
from mmyolonas.model_converters.blocks import (
    block_prefixes,
    drop_placeholders,
    expand_block,
    form_of,
    partial_fusion,
)
from mmyolonas.model_converters.names import kind_of, sg_order, to_mm_key, to_sg_key
from mmyolonas.model_converters.report import ConversionReport
from mmyolonas.utils.checkpoint_match import PREDICTION_LAYER, state_of
from mmyolonas.utils.errors import UserError

State = Dict[str, Tensor]


def weights_of(checkpoint: Any, path: str) -> Tuple[State, str]:
    """Return the state dict of a SuperGradients file and where it was.

    ``ema_net`` comes before ``net``, as in the original; a bare state dict is
    taken as it is. A uniform ``module.`` prefix is stripped.

    Raises:
        UserError: There is none, or the file is one of ours.
    """
    if not isinstance(checkpoint, Mapping):
        raise UserError(f'{path} holds a {type(checkpoint).__name__}, not a checkpoint.')
    place = next((key for key in ('ema_net', 'net') if checkpoint.get(key)), 'the file itself')
    state = checkpoint.get(place, checkpoint)
    if 'state_dict' in checkpoint and place == 'the file itself':
        raise UserError(
            f'{path} is an OpenMMLab checkpoint; use --reverse to convert it to SuperGradients.')
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f'{path} holds no state dict (neither net, nor ema_net, nor bare).')
    if all(key.startswith('module.') for key in state):
        state = {key[len('module.'):]: value for key, value in state.items()}
    return dict(state), place


def from_supergradients(checkpoint: Any,
                        path: str = 'the checkpoint',
                        model: Optional[nn.Module] = None) -> Tuple[dict, ConversionReport]:
    """Convert a SuperGradients checkpoint.

    Tensors are mapped by name only. Fused blocks are expanded to unfused ones
    of the same output, so that the result loads strictly in every case.

    Args:
        checkpoint (Any): Content of the file.
        path (str): Its name, for messages.
        model (nn.Module, optional): The model it is meant for; by default its
            architecture is read off the shapes.

    Returns:
        tuple[dict, ConversionReport]: Checkpoint for mmengine (``meta`` and
        ``state_dict``) and what was done. Look at ``report.complete``.

    Raises:
        UserError: It is not a YOLO-NAS checkpoint, or not ``model``'s.
    """
    source, place = weights_of(checkpoint, path)
    kind = kind_of(source)
    renamed = {key: to_mm_key(key, kind) for key in source}
    report = ConversionReport(
        title='', left_over=[key for key, name in renamed.items() if name is None])
    state = {name: source[key].detach() for key, name in renamed.items() if name is not None}
    state = {key: value.float() if value.is_floating_point() else value
             for key, value in state.items()}
    state, report.dropped = drop_placeholders(state)
    mapped = set(state)
    architecture = infer_architecture(state)
    template = model or architecture.build()
    state = _expand(state, template, report)
    state = _fit(state, template, report, path)
    source_name = {name: key for key, name in renamed.items()}
    report.left_over = [source_name.get(key, key) for key in report.left_over]
    report.mapped = len(mapped & set(state))
    report.title = f'{path} ({place}): {_describe(architecture)} of SuperGradients'
    return dict(meta=_meta(checkpoint, architecture, report), state_dict=state), report


def _describe(architecture: Architecture) -> str:
    size = architecture.name.upper() if len(architecture.name) == 1 else architecture.name
    if architecture.kind == 'pose':
        return f'YOLO-NAS-Pose {size} with {architecture.outputs} key points'
    return f'YOLO-NAS {size} with {architecture.outputs} classes'


def _expand(state: State, template: nn.Module, report: ConversionReport) -> State:
    """Expand fused blocks; notes their number in the report."""
    infos = block_infos(template)
    for prefix in block_prefixes(state):
        form = form_of(state, prefix)
        if form == 'unfused' or prefix not in infos:
            continue
        block = expand_block(state, prefix, infos[prefix])
        state = {key: value for key, value in state.items() if not key.startswith(prefix)}
        state.update(block)
        report.partial += form == 'partial'
        report.full += form == 'full'
    return state


def _fit(state: State, template: nn.Module, report: ConversionReport, path: str) -> State:
    """Return the state in the template's order; notes what does not fit."""
    wanted = template.state_dict()
    report.left_over += [key for key in state if key not in wanted]
    fitted = OrderedDict()
    for key, tensor in wanted.items():
        if key in state:
            if state[key].shape != tensor.shape and not PREDICTION_LAYER.search(key):
                raise UserError(
                    f'{path} is not of this architecture: {key} is {tuple(state[key].shape)} '
                    f'there and {tuple(tensor.shape)} in the model of the config.')
            fitted[key] = state[key].contiguous()
        elif key.endswith('num_batches_tracked'):
            fitted[key] = torch.zeros((), dtype=torch.int64)
        else:
            report.missing.append(key)
    return fitted


def _meta(checkpoint: Mapping, architecture: Architecture, report: ConversionReport) -> dict:
    """Return the meta of the converted checkpoint; plain data only."""
    meta: Dict[str, Any] = dict(
        converted_from='SuperGradients',
        architecture=f'{architecture.kind} {architecture.name}')
    params = checkpoint.get('processing_params')
    if not isinstance(params, Mapping):
        return meta
    try:
        meta['processing_params'] = processing.plain(params)
    except TypeError as error:
        report.notes.append(f'the stored pre-processing is not taken over: {error}.')
        params = {key: value for key, value in params.items() if key != 'image_processor'}
    names = processing.class_names(params)
    if names and architecture.kind == 'detection':
        if len(names) == architecture.outputs:
            meta['dataset_meta'] = dict(classes=names)
            report.notes.append(f'classes: {", ".join(names[:8])}{", ..." * (len(names) > 8)}')
        else:
            report.notes.append(f'{len(names)} class names are stored for {architecture.outputs} '
                                'classes; they are left out.')
    summary = processing.summarise(params)
    if summary:
        meta['preprocessing'] = summary
        report.notes.append('pre-processing of the checkpoint: '
                            + ', '.join(f'{key}={value}' for key, value in summary.items()))
        report.notes += processing.config_advice(summary, architecture.kind)
    return meta


def to_supergradients(checkpoint: Mapping,
                      path: str = 'the checkpoint') -> Tuple[dict, ConversionReport]:
    """Convert one of our checkpoints to the layout that the original loads strictly.

    Args:
        checkpoint (Mapping): Content of the file: ``state_dict`` or a bare one.
        path (str): Its name, for messages.

    Returns:
        tuple[dict, ConversionReport]: ``net`` with the original's keys in their
        order (and ``processing_params`` if the file came from there), and what
        was done. Look at ``report.complete``.

    Raises:
        UserError: It is not a YOLO-NAS checkpoint.
    """
    state = state_of(checkpoint, path)
    state = {key: value.detach() for key, value in state.items()
             if not key.startswith('data_preprocessor.')}
    report = ConversionReport(title='')
    architecture = infer_architecture(state)
    template = architecture.build()
    mapped = set(state)
    state = _fit(_expand(state, template, report), template, report, path)
    report.mapped = len(mapped & set(state))
    if report.complete:
        for prefix, info in block_infos(template).items():
            block = partial_fusion(state, prefix, info)
            state.update(block)
            report.added += len(block)
    report.title = f'{path}: {_describe(architecture)} to SuperGradients'
    names: List[Tuple[str, str]] = [(to_sg_key(key), key) for key in state]
    ours = dict(names)
    net = OrderedDict((key, state[ours[key]]) for key in sg_order(ours, architecture.kind))
    result: Dict[str, Any] = dict(net=net)
    params = (checkpoint.get('meta') or {}).get('processing_params')
    if params:
        result['processing_params'] = params
    return result, report
