"""From tables of an architecture to a model."""
from typing import Any, Dict, Optional

from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmyolonas.search.encoding import Architecture
from mmyolonas.utils.cli import load_config

_BASES = dict(detection='mmyolonas::_base_/models/yolonas_s.py',
              pose='mmyolonas::_base_/models/yolonas_pose.py')


def model_changes(architecture: Architecture) -> Dict[str, Any]:
    """Return what distinguishes the model from that of a base config.

    Args:
        architecture (dict): See :func:`mmyolonas.search.encoding.decode`.

    Returns:
        dict: To be merged into ``model`` of any YOLO-NAS config.
    """
    changes: Dict[str, Any] = dict(
        backbone=dict(arch=dict(_delete_=True, **architecture['backbone'])),
        neck=dict(arch=dict(_delete_=True, **architecture['neck'])))
    head = architecture['head']
    changes['bbox_head' if architecture['task'] == 'detection' else 'head'] = dict(head)
    return changes


def model_config(architecture: Architecture, num_classes: Optional[int] = None) -> Dict[str, Any]:
    """Return the config of a model.

    Args:
        architecture (dict): See :func:`mmyolonas.search.encoding.decode`.
        num_classes (int, optional): Classes, for poses key points; None for
            COCO's 80 or 17.

    Returns:
        dict: For mmdet's or mmpose's registry.
    """
    from mmengine.config import Config
    task = architecture['task']
    cfg = load_config(_BASES[task])
    cfg = Config(dict(model=cfg.model.to_dict()))
    cfg.merge_from_dict(dict(model=model_changes(architecture)))
    if num_classes is not None:
        if task == 'detection':
            cfg.model.bbox_head.num_classes = num_classes
        else:
            cfg.model.head.update(num_keypoints=num_classes)
            if num_classes != 17:
                cfg.model.head.setdefault('sigmas', 0.05)
    return cfg.model.to_dict()


def build(architecture: Architecture, num_classes: Optional[int] = None) -> nn.Module:
    """Build a model with random weights.

    Args:
        architecture (dict): See :func:`mmyolonas.search.encoding.decode`.
        num_classes (int, optional): Classes, for poses key points; None for
            COCO's 80 or 17.
    """
    config = model_config(architecture, num_classes)
    init_default_scope('mmdet' if architecture['task'] == 'detection' else 'mmpose')
    return MODELS.build(config)
