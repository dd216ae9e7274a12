"""Repairs that keep data out of what mmengine runs as code."""
import functools

from mmyolonas.compat.core import has_module, repair


@repair('Config.pretty_text', 'every mmengine')
def _write_inert_configs() -> str | None:
    """Write configs so that reading them gives the same values.

    The runner writes its config into the work folder and each checkpoint. A class
    named ``{{$HOME:x}}`` is replaced when that file is read, a longer name runs as
    code, and so does a quote in the key of a dictionary, which mmengine writes as
    it is.
    """
    if not has_module('mmengine'):
        return None
    from mmengine.config import Config

    original = Config.pretty_text.fget

    @functools.wraps(original)
    def pretty_text(self) -> str:
        from mmyolonas.utils.inert import inert, literal
        values = self.to_dict()
        if _has_odd_key(values):
            return ''.join(f'{key} = {literal(value)}\n' for key, value in values.items())
        return inert(original(self))

    Config.pretty_text = property(pretty_text)
    return 'what mmengine substitutes in the text of a config can come from data'


def _has_odd_key(value: object) -> bool:
    """Whether a key of a dictionary would not survive between plain quotes."""
    if isinstance(value, dict):
        return any(isinstance(key, str) and repr(key) != f"'{key}'" or _has_odd_key(item)
                   for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(map(_has_odd_key, value))


@repair('CheckpointLoader', 'every mmengine')
def _drop_config_of_checkpoints() -> str | None:
    """Keep ``resume`` from running ``meta['config']``, text of the checkpoint.

    mmengine looks there for the number of GPUs, which nothing has written for years.
    Every loader of mmengine, mmdet and mmpose comes through here.
    """
    if not has_module('mmengine'):
        return None
    from mmengine.runner.checkpoint import CheckpointLoader

    original = CheckpointLoader.load_checkpoint.__func__

    @functools.wraps(original)
    def load_checkpoint(cls, *args, **kwargs):
        loaded = original(cls, *args, **kwargs)
        if isinstance(loaded, dict) and isinstance(loaded.get('meta'), dict):
            loaded['meta'].pop('config', None)
        return loaded

    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
    return 'resuming runs a text that the checkpoint holds'


@repair('BaseInferencer', 'every mmengine')
def _parse_config_of_checkpoints() -> str | None:
    """Let inferencers read the config inside a checkpoint as data."""
    if not has_module('mmengine'):
        return None
    from mmengine.config import Config
    from mmengine.infer.infer import BaseInferencer
    from mmengine.runner.checkpoint import _load_checkpoint

    original = BaseInferencer._init_model

    @functools.wraps(original)
    def init_model(self, cfg, weights=None, device='cpu'):
        if not cfg and weights is not None:
            from mmyolonas.utils.inert import parse_config_text
            checkpoint = _load_checkpoint(weights, map_location='cpu')
            text = checkpoint.get('message_hub', {}).get('runtime_info', {}).get(
                'cfg', checkpoint.get('meta', {}).get('cfg'))
            if isinstance(text, str):
                cfg.update(Config(parse_config_text(text, weights))._cfg_dict)
        return original(self, cfg, weights, device)

    BaseInferencer._init_model = init_model
    return 'an inferencer without a config runs the text that its checkpoint holds'
