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
from mmengine.registry import MODEL_WRAPPERS as ROOT_MODEL_WRAPPERS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as ROOT_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_PARAM_SCHEDULERS
from mmengine.registry import TASK_UTILS as ROOT_TASK_UTILS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import VISBACKENDS as ROOT_VISBACKENDS
from mmengine.registry import VISUALIZERS as ROOT_VISUALIZERS
from mmengine.registry import DefaultScope, Registry

_SCOPE = 'mmyolonas'


class _HostedRegistry(Registry):
    """A registry that finds the hosts' components under its own default scope.

    Configs name the host's types without a prefix and set the host's default
    scope. A caller who insists on ours, such as
    ``DetInferencer(..., scope='mmyolonas')``, gets the same types: a name that
    is not ours means what it means in mmdet, else in mmpose, else in the root.
    """

    def get(self, key: str) -> type | None:
        scope = DefaultScope.get_current_instance()
        if '.' not in key and scope is not None and scope.scope_name == _SCOPE:
            for name in (f'{_SCOPE}.{key}', f'mmdet.{key}', f'mmpose.{key}'):
                found = super().get(name)
                if found is not None:
                    return found
        return super().get(key)


def _child(name: str, parent: Registry, location: str) -> Registry:
    return _HostedRegistry(
        name, parent=parent, scope=_SCOPE, locations=[f'mmyolonas.{location}'])


MODELS = _child('model', ROOT_MODELS, 'models')
TASK_UTILS = _child('task util', ROOT_TASK_UTILS, 'models')
DATASETS = _child('dataset', ROOT_DATASETS, 'datasets')
TRANSFORMS = _child('transform', ROOT_TRANSFORMS, 'datasets')
METRICS = _child('metric', ROOT_METRICS, 'evaluation')
HOOKS = _child('hook', ROOT_HOOKS, 'engine')
MODEL_WRAPPERS = _child('model_wrapper', ROOT_MODEL_WRAPPERS, 'engine')
LOOPS = _child('loop', ROOT_LOOPS, 'engine')
OPTIMIZERS = _child('optimizer', ROOT_OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', ROOT_OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', ROOT_PARAM_SCHEDULERS, 'engine')
VISBACKENDS = _child('vis_backend', ROOT_VISBACKENDS, 'engine')
VISUALIZERS = _child('visualizer', ROOT_VISUALIZERS, 'visualization')
