"""What mmdeploy traces instead of the heads' own prediction."""
from typing import Any, Tuple

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import get_codebase, is_dynamic_shape
from torch import Tensor, nn

from mmyolonas.export.config_metadata import merge_postprocess
from mmyolonas.export.graph import DetectionCandidates, EfficientNMS, PaddedNMS, PoseCandidates
from mmyolonas.export.graph.exported import raw_maps


def _is_ours(deploy_cfg: Any) -> bool:
    return get_codebase(deploy_cfg).value == 'mmyolonas'


def _finish(head: nn.Module, feats: Tuple[Tensor, ...], test_cfg: Any, deploy_cfg: Any,
            image_size: Any) -> Tuple[Tensor, ...]:
    """Decode and suppress as :class:`ExportedDetector` does."""
    is_pose = not hasattr(head, 'cls_out_channels')
    post = deploy_cfg['codebase_config'].get('post_processing') or {}
    rules = merge_postprocess(post, test_cfg or {}, is_pose)
    decode = (PoseCandidates if is_pose else DetectionCandidates)(head)
    maps = raw_maps(head, feats)
    if rules.nms == 'none':
        return tuple(x for x in decode(maps) if x is not None)
    if rules.nms == 'efficient_nms':
        return EfficientNMS(rules)(decode(maps))
    return PaddedNMS(rules)(decode(maps, rules.pre_top_k), image_size if rules.clip else None)


@FUNCTION_REWRITER.register_rewriter(
    'mmyolonas.models.dense_heads.yolonas_head.YOLONASHead.predict')
def yolonas_head__predict(self, x: Tuple[Tensor, ...], batch_data_samples: list,
                          rescale: bool = False) -> Tuple[Tensor, ...]:
    """Return ``dets`` (B, N, 5) and ``labels`` (B, N), or what the NMS flavour gives.

    With mmdeploy's code base ``mmdet`` its own rewriter runs instead, as a
    base line.
    """
    ctx = FUNCTION_REWRITER.get_context()
    if not _is_ours(ctx.cfg):
        return ctx.origin_func(self, x, batch_data_samples, rescale=rescale)
    height, width = batch_data_samples[0].img_shape[:2]
    if not is_dynamic_shape(ctx.cfg):
        height, width = int(height), int(width)
    return _finish(self, x, self.test_cfg, ctx.cfg, (height, width))


@FUNCTION_REWRITER.register_rewriter(
    'mmyolonas.models.pose_heads.yolonas_pose_head.YOLONASPoseHead.forward')
def yolonas_pose_head__forward(self, feats: Tuple[Tensor, ...], *args: Any,
                               **kwargs: Any) -> Tuple[Tensor, ...]:
    """Return ``dets`` (B, N, 5) and ``keypoints`` (B, N, K, 3)."""
    ctx = FUNCTION_REWRITER.get_context()
    return _finish(self, feats, self.test_cfg, ctx.cfg, None)


@FUNCTION_REWRITER.register_rewriter(
    'mmpose.models.pose_estimators.base.BasePoseEstimator.forward')
def base_pose_estimator__forward(self, inputs: Tensor, *args: Any,
                                 **kwargs: Any) -> Tuple[Tensor, ...]:
    """Trace the network without the estimator's packing."""
    with torch.no_grad():
        return self._forward(inputs)
