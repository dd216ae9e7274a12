"""Start weights of a pose model from a detection checkpoint."""
from collections import OrderedDict
from typing import Any, Optional, Tuple

from torch import nn

from mmyolonas.model_converters.architecture import Architecture, infer_architecture
from mmyolonas.model_converters.report import ConversionReport
from mmyolonas.model_converters.supergradients import from_supergradients
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.utils.checkpoint_match import state_of
from mmyolonas.utils.errors import UserError


def pose_start_weights(checkpoint: Any,
                       path: str = 'the checkpoint',
                       model: Optional[nn.Module] = None) -> Tuple[dict, ConversionReport]:
    """Take what a pose model can use from a detection checkpoint.

    As the original does: backbone, neck, and the layers of the head that agree
    in name and shape, which are ``cls_convs``, ``reg_convs`` and ``reg_pred``.
    Stems and predictions start anew (reference.md 13.5).

    Args:
        checkpoint (Any): Content of a detection checkpoint, SuperGradients' or
            ours.
        path (str): Its name, for messages.
        model (nn.Module, optional): The pose model; by default that of the same
            size with 17 key points.

    Returns:
        tuple[dict, ConversionReport]: Checkpoint for ``load_from``, and what was
        done: ``left_over`` are tensors of the detector that are not used,
        ``missing`` are tensors of the pose model that start anew.

    Raises:
        UserError: It is no detection checkpoint, or there is no such pose model.
    """
    if 'state_dict' not in checkpoint:
        checkpoint, report = from_supergradients(checkpoint, path)
        if not report.complete:
            raise UserError(f'{path} cannot be converted completely:\n{report.text()}')
    state = state_of(checkpoint, path)
    architecture = infer_architecture(state)
    if architecture.kind == 'pose':
        raise UserError(f'{path} is a pose checkpoint already; convert it without --init-pose.')
    wanted = (model or _pose_twin(architecture)).state_dict()
    taken, left = OrderedDict(), []
    for key, value in state.items():
        name = key.replace('bbox_head.levels.', 'head.levels.')
        if name in wanted and wanted[name].shape == value.shape:
            taken[name] = value
        else:
            left.append(key)
    report = ConversionReport(
        title=f'{path}: start weights for YOLO-NAS-Pose {architecture.name.upper()}',
        mapped=len(taken), left_over=left,
        missing=[key for key in wanted if key not in taken],
        notes=['left over and missing are as expected: stems and predictions of the pose head '
               'start anew.'])
    if not any(key.startswith('backbone.') for key in taken):
        raise UserError(f'{path} has another size than the pose model: nothing of the backbone '
                        'fits. Use the config of the same size.')
    return dict(meta=dict(pose_start_from=path), state_dict=taken), report


def _pose_twin(architecture: Architecture) -> nn.Module:
    """Return the pose model of the same size, without memory."""
    if architecture.name not in YOLONASPoseHead.arch_settings:
        raise UserError('the detector has an architecture of its own; give the config of the '
                        'pose model with --config.')
    return Architecture('pose', architecture.name, architecture.backbone, architecture.neck,
                        dict(arch=architecture.name), 17).build()
