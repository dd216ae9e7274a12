"""Registries of mmyolonas: children of mmengine's root under the scope ``mmyolonas``.

Being children of the *root* (and not of mmdet's or mmpose's registries), the
components are found under any default scope by their full name, for example
``type='mmyolonas.YOLONASBackbone'``. ``locations`` makes mmengine import the
defining package on first use, so a config needs no ``custom_imports`` beyond
``mmyolonas`` itself.
"""
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_PARAM_SCHEDULERS
from mmengine.registry import TASK_UTILS as ROOT_TASK_UTILS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import VISUALIZERS as ROOT_VISUALIZERS
from mmengine.registry import Registry

_SCOPE = 'mmyolonas'


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope=_SCOPE, locations=[f'mmyolonas.{location}'])


MODELS = _child('model', ROOT_MODELS, 'models')
TASK_UTILS = _child('task util', ROOT_TASK_UTILS, 'models')
DATASETS = _child('dataset', ROOT_DATASETS, 'datasets')
TRANSFORMS = _child('transform', ROOT_TRANSFORMS, 'datasets')
METRICS = _child('metric', ROOT_METRICS, 'evaluation')
HOOKS = _child('hook', ROOT_HOOKS, 'engine')
LOOPS = _child('loop', ROOT_LOOPS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', ROOT_OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', ROOT_PARAM_SCHEDULERS, 'engine')
VISUALIZERS = _child('visualizer', ROOT_VISUALIZERS, 'visualization')
