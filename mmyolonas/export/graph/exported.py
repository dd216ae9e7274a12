"""A model from image to detections as one torch module, ready to be traced."""
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmyolonas.export.flavours.table import flavour_of, output_names
from mmyolonas.export.flavours.tails import build_tail
from mmyolonas.export.graph.candidates import DetectionCandidates, PoseCandidates
from mmyolonas.export.metadata import Postprocess
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.pose_heads import RawPoseOutputs, YOLONASPoseHead


class ExportedDetector(nn.Module):
    """Backbone, neck, head, decoding and suppression.

    The parts hang directly below this module, so that the exporter names the
    tensors after them.

    Args:
        model (nn.Module): Detector or pose estimator with ``backbone``,
            ``neck`` and ``bbox_head`` or ``head``; already fused.
        rules (Postprocess): End of the graph.
        static (bool): Whether height and width are fixed. Defaults to True.
    """

    def __init__(self,
                 model: nn.Module,
                 rules: Postprocess,
                  static: bool = True) -> None:
        super().__init__()
        self.is_pose = not hasattr(model, 'bbox_head')
        self.backbone = model.get_submodule('backbone')
        self.neck: nn.Module = getattr(model, 'neck', None) or nn.Identity()
        self.head_name = 'head' if self.is_pose else 'bbox_head'
        head = getattr(model, self.head_name)
        self.add_module(self.head_name, head)
        self.rules = rules
        self.static = static
        self.decode = (PoseCandidates if self.is_pose else DetectionCandidates)(head)
        flavour_of(rules.nms, self.task)
        self.nms = build_tail(rules)

    @property
    def task(self) -> str:
        """str: ``'detection'`` or ``'pose'``."""
        return 'pose' if self.is_pose else 'detection'

    @property
    def output_names(self) -> List[str]:
        """list[str]: Names of the outputs, in order."""
        return output_names(self.rules.nms, self.task, self.decode.strides)

    def forward(self, image: Tensor) -> Tuple[Tensor, ...]:
        """Map images (B, 3, H, W) to the outputs named by :attr:`output_names`."""
        feats = self.neck(self.backbone(image))
        maps = raw_maps(getattr(self, self.head_name), feats)
        return self.finish(maps, image.shape[-2:])

    def finish(self, maps: List[Sequence[Tensor]],
               image_size: Optional[Sequence[int]] = None) -> Tuple[Tensor, ...]:
        """Decode and suppress what the head gave."""
        rules = self.rules
        if rules.nms == 'maps':
            return self.nms(maps)
        if rules.nms not in ('onnx', 'flat'):
            return self.nms(self.decode(maps))
        size = None
        if rules.clip and image_size is not None:
            size = tuple(int(x) for x in image_size) if self.static else tuple(
                x if isinstance(x, Tensor) else torch.tensor(x) for x in image_size)
        return self.nms(self.decode(maps, rules.pre_top_k), size)


def raw_maps(head: Union[YOLONASHead, YOLONASPoseHead],
             feats: Sequence[Tensor]) -> List[Sequence[Tensor]]:
    """Return the head's maps in the order the decoders take them."""
    raw = head.forward_raw(feats)
    maps: List[Sequence[Tensor]] = [raw.cls_scores, raw.bbox_dists]
    if isinstance(raw, RawPoseOutputs):
        maps += [raw.kpt_offsets, raw.kpt_scores]
    return maps


def build_exported(model: nn.Module,
                   rules: Postprocess,
                      static: bool = True) -> ExportedDetector:
    """Return the module to trace, in evaluation mode."""
    return ExportedDetector(model, rules, static).eval()
