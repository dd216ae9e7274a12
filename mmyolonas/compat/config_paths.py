"""Repairs that let mmengine's readers and mmpose's inferencers take what mmyolonas ships."""
from types import ModuleType
from typing import Any

from mmyolonas.compat.core import after_import, has_module, repair

_PREFIX = 'mmyolonas::'
_INFERENCER = 'mmpose.apis.inferencers.base_mmpose_inferencer'
_MMENGINE_INFERENCER = 'mmengine.infer.infer'


def _resolved(name: Any) -> Any:
    """Return the path of an installed config, anything else as it is."""
    if not isinstance(name, str) or not name.startswith(_PREFIX):
        return name
    from mmyolonas.utils.configs import installed_config
    return str(installed_config(name))


@repair('mmyolonas:: in Config.fromfile and inferencers', 'every mmengine')
def _read_installed_configs() -> str | None:
    """Take ``mmyolonas::yolonas/x.py`` wherever a config file is taken.

    mmengine resolves such names in ``_base_`` only: ``Config.fromfile`` (init_detector,
    init_model) looks for a file of that name, inferencers for a model of that name.
    """
    if not has_module('mmengine'):
        return None
    from mmengine.config import Config
    original = Config.fromfile

    def fromfile(filename: Any, *args: Any, **kwargs: Any) -> Any:
        return original(_resolved(filename), *args, **kwargs)

    fromfile.__doc__ = original.__doc__
    Config.fromfile = staticmethod(fromfile)
    after_import(_MMENGINE_INFERENCER, _load_by_name)
    return 'mmengine resolves such names in _base_ only'


def _load_by_name(module: ModuleType) -> None:
    inferencer = module.BaseInferencer
    original = inferencer._load_model_from_metafile

    def load(self, model: str) -> tuple:
        if model.startswith(_PREFIX):
            from mmengine.config import Config
            return Config.fromfile(model), None
        return original(self, model)

    load.__doc__ = original.__doc__
    inferencer._load_model_from_metafile = load


@repair('thresholds of MMPoseInferencer', 'mmpose 1.x')
def _keep_thresholds() -> str | None:
    """Let mmpose's inferencers keep a one-stage model's thresholds.

    They replace ``score_thr`` and ``nms_thr`` by 0.3 where the caller gives none, whatever
    the model was made for. What the caller gives still counts.
    """
    if not has_module('mmpose'):
        return None
    after_import(_INFERENCER, _take_own_thresholds)
    return 'its inferencers replace the thresholds of one-stage models by 0.3'


def _take_own_thresholds(module: ModuleType) -> None:
    inferencer = module.BaseMMPoseInferencer
    original = inferencer.preprocess

    def preprocess(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        head = getattr(getattr(self, 'model', None), 'head', None)
        if type(head).__module__.startswith('mmyolonas.'):
            rules = head.test_cfg or {}
            for key, rule in (('bbox_thr', 'score_thr'), ('nms_thr', 'nms_thr')):
                if rule in rules and not args[2:]:
                    kwargs.setdefault(key, rules[rule])
        return original(self, inputs, *args, **kwargs)

    preprocess.__doc__ = original.__doc__
    inferencer.preprocess = preprocess
