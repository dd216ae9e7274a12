"""Networks, heads, losses and assigners of YOLO-NAS and YOLO-NAS-Pose."""
from . import (  # noqa: F401
    backbones,
    data_preprocessors,
    dense_heads,
    detectors,
    layers,
    losses,
    necks,
    pose_heads,  # noqa: F401
    task_modules,
)
