"""Networks, heads, losses and assigners of YOLO-NAS and YOLO-NAS-Pose."""
from . import backbones, dense_heads, detectors, layers, losses, necks, task_modules  # noqa: F401
from . import pose_heads  # noqa: F401
