"""mmdeploy's code base ``mmyolonas``; a deploy config names this module.

``codebase_config=dict(type='mmyolonas', module=['mmyolonas.deploy.codebase'])``
makes mmdeploy import it.
"""
from mmyolonas import compat

compat.export_with_torchscript()

from .mmyolonas_codebase import MMYOLONAS, MMYOLONAS_TASK  # noqa: E402
from .object_detection import ObjectDetection  # noqa: E402
from .pose_detection import PoseDetection  # noqa: E402

__all__ = ['MMYOLONAS', 'MMYOLONAS_TASK', 'ObjectDetection', 'PoseDetection']
