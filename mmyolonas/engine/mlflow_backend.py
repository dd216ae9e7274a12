"""MLflow for scores whose names hold class names."""
import re
from typing import Any, Dict, Optional

from mmengine.visualization import MLflowVisBackend

from mmyolonas.registry import VISBACKENDS

# what MLflow allows in names besides letters, digits and the underscore
_FORBIDDEN = re.compile(r'[^\w\-. :/]')


@VISBACKENDS.register_module()
class NamedMLflowVisBackend(MLflowVisBackend):
    """mmengine's back end, which ends the training at a name that MLflow does not allow.

    Scores of each class carry its name, such as ``coco/cell (red)_precision``; so do those of
    key points (``pck/PCK@0.1 nose``). What is not allowed becomes an underscore; of names that
    are the same then the last one stays.

    Args:
        kwargs: See mmengine's ``MLflowVisBackend``.
    """

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs) -> None:
        """Write a score under an allowed name."""
        super().add_scalar(_FORBIDDEN.sub('_', name), value, step, **kwargs)

    def add_scalars(self, scalar_dict: Dict[str, Any], step: int = 0,
                    file_path: Optional[str] = None, **kwargs) -> None:
        """Write scores under allowed names."""
        allowed = {_FORBIDDEN.sub('_', name): value for name, value in scalar_dict.items()}
        super().add_scalars(allowed, step, file_path, **kwargs)
