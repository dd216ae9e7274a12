"""YOLO-NAS detector."""
from mmdet.models.detectors import SingleStageDetector

from mmyolonas.models.layers import QARepVGGBlock, fuse_blocks
from mmyolonas.models.utils import OptConfig
from mmyolonas.registry import MODELS


@MODELS.register_module()
class YOLONAS(SingleStageDetector):
    """mmdet's single-stage detector that can fuse its re-parameterised blocks.

    ``forward`` is mmdet's, so that mmdeploy's rewriters find it by its path.
    All arguments are those of :class:`mmdet.models.SingleStageDetector`.
    """

    def switch_to_deploy(self, test_cfg: OptConfig = None) -> None:
        """Fuse every re-parameterised block of backbone, neck and head; idempotent."""
        fuse_blocks(self)

    def fuse_partial(self) -> None:
        """Merge the branches of every block, keeping the norm after the sum; idempotent."""
        for module in self.modules():
            if isinstance(module, QARepVGGBlock):
                module.fuse_partial()
