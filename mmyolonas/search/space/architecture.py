"""From tables of an architecture to a model."""
import copy
from contextlib import contextmanager
from functools import cache
from typing import Any, Dict, Iterator, Optional

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmyolonas.search.space.encoding import Architecture
from mmyolonas.utils.configs import load_config

_BASES = dict(detection='mmyolonas::_base_/models/yolonas_s.py',
              pose='mmyolonas::_base_/models/yolonas_pose.py')


def model_changes(architecture: Architecture) -> Dict[str, Any]:
    """Return what distinguishes the model from that of any YOLO-NAS config.

    Args:
        architecture (dict): See :func:`mmyolonas.search.space.encoding.decode`.

    Returns:
        dict: To be merged into ``model``.
    """
    changes: Dict[str, Any] = dict(
        backbone=dict(arch=dict(_delete_=True, **copy.deepcopy(architecture['backbone']))),
        neck=dict(arch=dict(_delete_=True, **copy.deepcopy(architecture['neck']))))
    head = 'bbox_head' if architecture['task'] == 'detection' else 'head'
    changes[head] = copy.deepcopy(architecture['head'])
    return changes


@cache
def _base_model(task: str) -> Config:
    return load_config(_BASES[task]).model


def model_config(architecture: Architecture, num_classes: Optional[int] = None) -> Dict[str, Any]:
    """Return the config of a model.

    Args:
        architecture (dict): See :func:`mmyolonas.search.space.encoding.decode`.
        num_classes (int, optional): Classes, for poses key points; None for
            COCO's 80 or 17.

    Returns:
        dict: For mmdet's or mmpose's registry.
    """
    task = architecture['task']
    cfg = Config(dict(model=_base_model(task).to_dict()))
    cfg.merge_from_dict(dict(model=model_changes(architecture)))
    if num_classes is not None:
        if task == 'detection':
            cfg.model.bbox_head.num_classes = num_classes
        else:
            cfg.model.head.num_keypoints = num_classes
            if num_classes != 17:
                cfg.model.head.setdefault('sigmas', 0.05)
    return cfg.model.to_dict()


def build(architecture: Architecture, num_classes: Optional[int] = None,
          device: str = 'cpu') -> nn.Module:
    """Build a model with random weights.

    Args:
        architecture (dict): See :func:`mmyolonas.search.space.encoding.decode`.
        num_classes (int, optional): Classes, for poses key points; None for
            COCO's 80 or 17.
        device (str): Where it is made; ``'meta'`` takes no memory and makes no
            weights. Defaults to ``'cpu'``.
    """
    config = model_config(architecture, num_classes)
    init_default_scope('mmdet' if architecture['task'] == 'detection' else 'mmpose')
    if device != 'meta':
        with torch.device(device):
            return MODELS.build(config)
    with torch.device(device), without_weights():
        return MODELS.build(config)


@contextmanager
def without_weights() -> Iterator[None]:
    """Leave out the drawing of weights, which takes time even where there are none."""
    kinds = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase,
             nn.modules.batchnorm._BatchNorm)
    before = [(kind, kind.__dict__['reset_parameters']) for kind in kinds
              if 'reset_parameters' in kind.__dict__]
    try:
        for kind, _ in before:
            kind.reset_parameters = lambda self: None
        yield
    finally:
        for kind, method in before:
            kind.reset_parameters = method
