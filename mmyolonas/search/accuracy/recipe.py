"""The shared recipe: an ordinary config whose architecture, size and seed the search sets."""
import hashlib
import json
import math
from typing import Any, Optional, Sequence, Tuple

from mmengine.config import Config

from mmyolonas.engine.hooks.checkpoint_match_hook import CheckpointMatchHook
from mmyolonas.search.space.architecture import model_changes
from mmyolonas.search.space.encoding import Architecture
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_SIZE_KEYS = ('scale', 'img_scale', 'size', 'input_size')
#: Pixels by which a pipeline may fit images into less than the network's input.
_MARGIN = 8


class Recipe:
    """A training config of the family, apart from the architecture.

    Args:
        path (str): Config file that trains any YOLO-NAS; it defines ``img_scale``
            (poses: ``input_size``).
        cfg_options (dict, optional): Settings to override.

    Raises:
        UserError: It is no such config.
    """

    def __init__(self, path: str, cfg_options: Optional[dict] = None) -> None:
        self.path = str(path)
        self.cfg = load_config(self.path, cfg_options)
        model = self.cfg.get('model') or {}
        if 'bbox_head' not in model and 'head' not in model:
            raise UserError(f'{path} is no recipe: it has no model with bbox_head or head.')
        size_name(self.cfg, self.path)
        for key in ('train_dataloader', 'val_dataloader', 'val_evaluator'):
            if not self.cfg.get(key):
                raise UserError(f'{path} is no recipe for short trainings: it lacks {key}.')

    @property
    def task(self) -> str:
        """str: ``'detection'`` or ``'pose'``."""
        return 'detection' if 'bbox_head' in self.cfg.model else 'pose'

    @property
    def num_classes(self) -> int:
        """int: Classes, or key points of a pose model."""
        model = self.cfg.model
        return model.bbox_head.num_classes if self.task == 'detection' else \
            model.head.num_keypoints

    @property
    def fingerprint(self) -> str:
        """str: Changes with every setting that a training's result depends on."""
        cfg = self.cfg.to_dict()
        for key in ('work_dir', 'visualizer', 'log_level', 'log_processor', 'custom_imports'):
            cfg.pop(key, None)
        text = json.dumps(cfg, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def config(self, architecture: Architecture, seed: Optional[int] = None) -> Config:
        """Return the config of a training.

        Args:
            architecture (dict): See :func:`mmyolonas.search.space.encoding.decode`.
            seed (int, optional): Seed; None for the recipe's.
        """
        if architecture['task'] != self.task:
            raise UserError(f'{self.path} is a recipe for {self.task}, the architecture is for '
                            f'{architecture["task"]}.')
        cfg = Config(self.cfg.to_dict())
        cfg.merge_from_dict(dict(model=model_changes(architecture)))
        set_input_size(cfg, architecture['input_size'])
        load_what_fits(cfg)
        if seed is not None:
            cfg.merge_from_dict(dict(randomness=dict(seed=seed)))
        return cfg


def load_what_fits(cfg: Config, whole: Sequence[str] = ()) -> None:
    """Let ``load_from`` give an architecture what it has for it.

    Args:
        cfg (Config): Of a training; changed in place.
        whole (Sequence[str]): Parts of the model that it must give whole.
    """
    if not cfg.get('load_from'):
        return
    for hook in cfg.get('custom_hooks') or ():
        if str(hook.get('type')).rpartition('.')[2] == CheckpointMatchHook.__name__:
            hook.update(strict_shapes=False, whole=list(whole))


def size_name(cfg: Config, path: str) -> str:
    """Return the name under which a config keeps the size of the network input.

    Raises:
        UserError: It has none, so that its size cannot be set.
    """
    for name in ('img_scale', 'input_size'):  # of detection and of pose configs
        if cfg.get(name):
            return name
    raise UserError(f'{path} defines neither img_scale nor input_size, so its input size cannot '
                    'be set.')


def set_input_size(cfg: Config, size: int) -> None:
    """Let a config's pipelines make network inputs of another size.

    Sizes in the pipelines that are the config's, or fall short of it by a few
    pixels, become the new one, short by as many pixels; others grow in proportion.

    Args:
        cfg (Config): With ``img_scale`` (poses: ``input_size``), (width, height);
            changed in place.
        size (int): The longer side, a multiple of 32.
    """
    name = size_name(cfg, 'the config')
    before = tuple(cfg[name])
    if max(before) == size:
        return
    after = tuple(aligned(side * size / max(before)) for side in before)

    def change(node: Any) -> Any:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in _SIZE_KEYS and _is_size(value):
                    node[key] = _resized(value, before, after)
                else:
                    change(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                change(value)

    for loader in _LOADERS:
        if cfg.get(loader):
            change(cfg[loader].dataset)
    cfg[name] = after


def aligned(side: float) -> int:
    """Return the multiple of 32 that a side is rounded up to."""
    return 32 * max(1, math.ceil(side / 32 - 1e-6))


def _is_size(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(
        isinstance(side, int) for side in value)


def _resized(value: Any, before: Tuple[int, int], after: Tuple[int, int]) -> Tuple[int, int]:
    missing = [b - v for b, v in zip(before, value)]
    if all(0 <= m <= _MARGIN for m in missing):
        return tuple(a - m for a, m in zip(after, missing))
    return tuple(round(v * a / b) for v, a, b in zip(value, after, before))
