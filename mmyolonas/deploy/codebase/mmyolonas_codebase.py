"""The code base's entry for mmdeploy."""
from mmdeploy.codebase.base import CODEBASE, MMCodebase
from mmengine.registry import Registry

MMYOLONAS_TASK = Registry('mmyolonas_tasks', locations=['mmyolonas.deploy.codebase'])


@CODEBASE.register_module('mmyolonas')
class MMYOLONAS(MMCodebase):
    """YOLO-NAS and YOLO-NAS-Pose in mmdeploy.

    The member ``mmyolonas`` of mmdeploy's enumeration of code bases comes into
    being when a deploy config names it, so a string stands here.
    """

    task_registry = MMYOLONAS_TASK

    @classmethod
    def register_deploy_modules(cls) -> None:
        """Register the rewriters, mmdeploy's for mmdet first."""
        import mmdeploy.codebase.mmdet.models  # noqa: F401
        import mmdeploy.codebase.mmdet.ops  # noqa: F401
        import mmdeploy.codebase.mmdet.structures  # noqa: F401

        from . import rewriters, sdk  # noqa: F401

    @classmethod
    def register_all_modules(cls) -> None:
        """Register everything without changing the default scope.

        The scope is the model config's, set by the task; a code base that sets
        one of its own breaks a second task of another kind in one process.
        """
        from mmdet.utils import register_all_modules

        import mmyolonas.datasets  # noqa: F401
        import mmyolonas.models  # noqa: F401

        cls.register_deploy_modules()
        register_all_modules(init_default_scope=False)
