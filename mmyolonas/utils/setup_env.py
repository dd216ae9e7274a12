"""The entry by which OpenMMLab's tools load a package's components."""
import importlib

#: The rooms that register components; deploy, quantization and search register none.
_ROOMS = ('datasets', 'engine', 'evaluation', 'models', 'visualization')


def register_all_modules(init_default_scope: bool = False) -> None:
    """Import every component of mmyolonas into its registries.

    Registries import on first use, so configs do not need this; it is what
    ``mmengine.hub.get_model('mmyolonas::...')`` calls.

    Args:
        init_default_scope: Also make ``mmyolonas`` the default scope. Our
            configs do not want that: they set their host's scope.
    """
    for room in _ROOMS:
        importlib.import_module(f'mmyolonas.{room}')
    if init_default_scope:
        from mmengine.registry import init_default_scope as set_scope
        set_scope('mmyolonas')
