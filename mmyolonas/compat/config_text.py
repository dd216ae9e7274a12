"""Repairs that keep data out of what mmengine runs as code."""
import functools
from typing import Dict, Tuple

from mmyolonas.compat.core import has_module, repair

#: Texts of the last configs by their values: a second to format, and every checkpoint asks.
_TEXTS: Dict[Tuple[str, bool], str] = {}
_MAX_TEXTS = 8


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
        name = (repr(values), self._format_python_code)
        if name not in _TEXTS:
            text = inert(original(self))
            while len(_TEXTS) >= _MAX_TEXTS:
                del _TEXTS[next(iter(_TEXTS))]
            _TEXTS[name] = text
        return _TEXTS[name]

    Config.pretty_text = property(pretty_text)
    return 'what mmengine substitutes in the text of a config can come from data'


def _has_odd_key(value: object) -> bool:
    """Whether a key of a dictionary would not survive between plain quotes."""
    if isinstance(value, dict):
        return any(isinstance(key, str) and repr(key) != f"'{key}'" or _has_odd_key(item)
                   for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(map(_has_odd_key, value))


@repair('CheckpointLoader', 'every mmengine')
def _read_checkpoints_as_data() -> str | None:
    """Read every local checkpoint through :func:`mmyolonas.utils.checkpoints.read_checkpoint`.

    mmengine unpickles anything with torch < 2.6, and leaves what is wrong with a file to
    the reader of a traceback. And ``resume`` runs ``meta['config']``, a text of the
    checkpoint in which mmengine looks for the number of GPUs; nothing has written it
    for years. Every loader of mmengine, mmdet, mmpose and mmdeploy comes through here.
    """
    if not has_module('mmengine'):
        return None
    from mmengine.runner.checkpoint import CheckpointLoader

    original = CheckpointLoader.load_checkpoint.__func__
    local = CheckpointLoader._schemes['']

    @functools.wraps(local)
    def load_from_local(filename, map_location=None):
        from mmyolonas.utils.checkpoints import check_structure, read_checkpoint
        loaded = read_checkpoint(filename, map_location=map_location)
        check_structure(loaded, str(filename))
        return loaded

    @functools.wraps(original)
    def load_checkpoint(cls, *args, **kwargs):
        loaded = original(cls, *args, **kwargs)
        if isinstance(loaded, dict) and isinstance(loaded.get('meta'), dict):
            loaded['meta'].pop('config', None)
        return loaded

    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
    return 'resuming runs a text that the checkpoint holds, old versions of torch run more'


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
            text = _config_of(checkpoint)
            if isinstance(text, str):
                cfg.update(Config(parse_config_text(text, weights))._cfg_dict)
        return original(self, cfg, weights, device)

    BaseInferencer._init_model = init_model
    return 'an inferencer without a config runs the text that its checkpoint holds'


def _config_of(checkpoint: object) -> object:
    """Return the text of a checkpoint's config, from either place where mmengine looks."""
    found = None
    for path in (('meta', 'cfg'), ('message_hub', 'runtime_info', 'cfg')):
        value = checkpoint
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        found = found if value is None else value
    return found
