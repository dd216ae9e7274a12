"""Detection head of YOLO-NAS."""
import math
from dataclasses import replace
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.registry import TASK_UTILS as MMDET_TASK_UTILS
from mmdet.structures.bbox import scale_boxes
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmyolonas.models.layers import ConvNormAct
from mmyolonas.models.losses.box_losses import positive_box_losses
from mmyolonas.models.utils import (
    IGNORED_REGIONS,
    OptConfig,
    check_count,
    distances_to_boxes,
    flatten_levels,
    grid_priors,
    ignored_priors,
    integral,
    pad_targets,
    pad_weights,
    pick_arch,
    select_candidates,
    warn_of_nan,
)
from mmyolonas.registry import MODELS


class RawOutputs(NamedTuple):
    """Per-level outputs; see :meth:`YOLONASHead.forward_raw`."""
    cls_scores: List[Tensor]
    bbox_preds: List[Tensor]
    bbox_dists: List[Tensor]


class YOLONASHeadLevel(nn.Module):
    """Decoupled head of one pyramid level (reference.md 3.3).

    Args:
        in_channels (int): Channels of the feature map.
        feat_channels (int): Channels within the head.
        cls_out_channels (int): Number of classes.
        reg_out_channels (int): Number of distribution logits.
        num_convs (int): 3x3 convolutions in front of each prediction.
        prior_prob (float): Score that the initial class bias stands for.
        norm_cfg (dict): Normalisation.
        act_cfg (dict): Activation.
    """

    def __init__(self, in_channels: int, feat_channels: int, cls_out_channels: int,
                 reg_out_channels: int, num_convs: int, prior_prob: float, norm_cfg: dict,
                 act_cfg: dict) -> None:
        super().__init__()
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)

        def convs() -> nn.Sequential:
            return nn.Sequential(*(ConvNormAct(feat_channels, feat_channels, 3, **cfg)
                                   for _ in range(num_convs)))

        self.stem = ConvNormAct(in_channels, feat_channels, 1, **cfg)
        self.cls_convs = convs()
        self.reg_convs = convs()
        self.cls_pred = nn.Conv2d(feat_channels, cls_out_channels, 1)
        self.reg_pred = nn.Conv2d(feat_channels, reg_out_channels, 1)
        nn.init.constant_(self.cls_pred.bias, -math.log((1 - prior_prob) / prior_prob))

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Return class and distribution logits of a (B, in_channels, H, W) map."""
        x = self.stem(x)
        return self.cls_pred(self.cls_convs(x)), self.reg_pred(self.reg_convs(x))


@MODELS.register_module()
class YOLONASHead(BaseDenseHead):
    """Anchor-free head with box sides as distributions (reference.md 3.3, reference.md 4.2).

    The class scores have no objectness; a side of a box is the expectation of
    a discrete distribution over 0..reg_max, in units of the stride.

    Deliberate differences from SuperGradients: predictions are clipped to the
    image; a batch without objects takes the same path as any other; and the
    logged losses are means, not multiplied by the number of processes.

    Args:
        num_classes (int): Number of classes.
        arch (str | dict): ``'s'``, ``'m'``, ``'l'`` or a table with the keys of
            :attr:`arch_settings`. Defaults to ``'s'``.
        in_channels (Sequence[int], optional): Channels of each feature map;
            None takes the table's. Defaults to None.
        feat_channels (Sequence[int], optional): Channels within the head, per
            level; None takes the table's. Defaults to None.
        strides (Sequence[int]): Stride of each level. Defaults to (8, 16, 32).
        reg_max (int): Largest distance in units of the stride. Defaults to 16.
        num_convs (int): 3x3 convolutions in front of each prediction. Defaults to 1.
        prior_prob (float): Initial score of every class. Defaults to 0.01.
        loss_cls (dict): Classification loss. Defaults to varifocal, weight 1.
        loss_bbox (dict): Loss on boxes in pixels. Defaults to GIoU, weight 2.5.
        loss_dfl (dict): Loss on the distributions. Defaults to weight 0.5.
        assigner (dict): Assigner with the interface of
            :class:`BatchTaskAlignedAssigner`. Defaults to that.
        norm_cfg (dict): Normalisation.
        act_cfg (dict): Activation.
        train_cfg (dict, optional): Set by the detector; ``assigner`` in it wins.
        test_cfg (dict, optional): ``score_thr``, ``nms_pre`` (candidates over all
            levels), ``nms``, ``max_per_img`` and ``multi_label`` (default True:
            every class above the threshold is a candidate; False: only the best
            class of a prior).
        instance_weights (bool): Whether ``gt_instances.weights`` (see
            :class:`PseudoLabelDataset`) weigh the losses of the priors assigned to
            each object; the divisor is weighted alike. Own design, for
            pseudo-labels. Defaults to False.
        ignored_regions (str, optional): What regions to ignore (``iscrowd`` in COCO
            files, uncertain pseudo-labels) leave open: the scores of their class
            (``'class'``) or of every class (``'all'``) of the priors inside are left out
            of the classification loss where they are not positive. Defaults to None:
            such regions are background, as in the original.
        feature_adapters (dict, optional): :class:`FeatureAdapters`, for a student
            that is distilled on features.
        init_cfg (dict, optional): Initialisation of the weights.
    """

    arch_settings = dict(
        s=dict(in_channels=(96, 192, 384), feat_channels=(64, 128, 256)),
        m=dict(in_channels=(96, 192, 384), feat_channels=(96, 192, 384)),
        l=dict(in_channels=(96, 192, 384), feat_channels=(128, 256, 512)))

    def __init__(self,
                 num_classes: int,
                 arch: Union[str, dict] = 's',
                 in_channels: Optional[Sequence[int]] = None,
                 feat_channels: Optional[Sequence[int]] = None,
                 strides: Sequence[int] = (8, 16, 32),
                 reg_max: int = 16,
                 num_convs: int = 1,
                 prior_prob: float = 0.01,
                 loss_cls: dict = dict(type='mmyolonas.VarifocalLoss'),
                 loss_bbox: dict = dict(type='mmdet.GIoULoss', eps=1e-10, loss_weight=2.5),
                 loss_dfl: dict = dict(type='mmyolonas.DistributionFocalLoss'),
                 assigner: dict = dict(type='mmyolonas.BatchTaskAlignedAssigner'),
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-3),
                 act_cfg: dict = dict(type='ReLU'),
                 train_cfg: OptConfig = None,
                 test_cfg: OptConfig = None,
                 instance_weights: bool = False,
                 ignored_regions: Optional[str] = None,
                 feature_adapters: OptConfig = None,
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        table = pick_arch(arch, self.arch_settings, type(self).__name__)
        in_channels = table['in_channels'] if in_channels is None else in_channels
        feat_channels = table['feat_channels'] if feat_channels is None else feat_channels
        if not len(in_channels) == len(feat_channels) == len(strides):
            raise ValueError(
                'YOLONASHead: in_channels, feat_channels and strides need one entry per level, '
                f'got {len(in_channels)}, {len(feat_channels)} and {len(strides)}.')
        self.num_classes = check_count(num_classes, 'num_classes', 'YOLONASHead')
        self.cls_out_channels = num_classes
        self.use_sigmoid_cls = True
        self.strides = tuple(strides)
        self.reg_max = reg_max
        if ignored_regions not in (None, *IGNORED_REGIONS):
            raise ValueError(f"{type(self).__name__}: ignored_regions must be None, 'class' or "
                             f"'all', got {ignored_regions!r}.")
        self.instance_weights = instance_weights
        self.ignored_regions = ignored_regions
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        # mmdet's predict path and mmdeploy's rewriter of it read these two
        self.prior_generator = MMDET_TASK_UTILS.build(
            dict(type='mmdet.MlvlPointGenerator', strides=list(strides), offset=0.5))
        self.bbox_coder = MMDET_TASK_UTILS.build(dict(type='mmdet.DistancePointBBoxCoder'))
        self.loss_cls = MMDET_MODELS.build(loss_cls)
        self.loss_bbox = MMDET_MODELS.build(loss_bbox)
        self.loss_dfl = MMDET_MODELS.build({'reg_max': reg_max, **loss_dfl})
        assigner = (train_cfg or {}).get('assigner', assigner)
        self.assigner = MMDET_TASK_UTILS.build(assigner)
        self.levels = nn.ModuleList(
            YOLONASHeadLevel(channels, feat, num_classes, 4 * (reg_max + 1), num_convs,
                             prior_prob, norm_cfg, act_cfg)
            for channels, feat in zip(in_channels, feat_channels))
        self.feature_adapters = MODELS.build(feature_adapters) if feature_adapters else None

    def forward(self, feats: Sequence[Tensor]) -> Tuple[List[Tensor], List[Tensor]]:
        """Return class logits and box distances of each level.

        Args:
            feats (Sequence[Tensor]): Feature maps of shape (B, in_channels, H, W).

        Returns:
            tuple[list[Tensor], list[Tensor]]: ``cls_scores`` (B, num_classes, H, W)
            and ``bbox_preds`` (B, 4, H, W): left, top, right, bottom in pixels.
        """
        return self.forward_raw(feats)[:2]

    def forward_raw(self, feats: Sequence[Tensor]) -> RawOutputs:
        """Return :meth:`forward`'s outputs and the logits behind the distances.

        Returns:
            RawOutputs: ``cls_scores``, ``bbox_preds`` and ``bbox_dists``
            (B, 4 * (reg_max + 1), H, W), side-major.
        """
        cls_scores, bbox_dists = self._forward_logits(feats)
        bbox_preds = [integral(dists, self.reg_max) * stride
                      for dists, stride in zip(bbox_dists, self.strides)]
        return RawOutputs(cls_scores, bbox_preds, bbox_dists)

    def _forward_logits(self, feats: Sequence[Tensor]) -> Tuple[List[Tensor], List[Tensor]]:
        cls_scores, bbox_dists = zip(*(level(x) for level, x in zip(self.levels, feats)))
        return list(cls_scores), list(bbox_dists)

    def decode(self, feats: Sequence[Tensor]) -> Tuple[Tensor, Tensor]:
        """Return the boxes and scores of every prior, before any selection.

        Returns:
            tuple[Tensor, Tensor]: Boxes (B, L, 4), xyxy in pixels of the network
            input, not clipped; scores (B, L, num_classes) within [0, 1]. L runs
            over the levels, row-major within each.
        """
        cls_scores, bbox_preds = self.forward(feats)
        priors, _ = self._priors(cls_scores)
        boxes = distances_to_boxes(priors, flatten_levels(bbox_preds))
        return boxes, flatten_levels(cls_scores).sigmoid()

    def _priors(self, maps: Sequence[Tensor]) -> Tuple[Tensor, Tensor]:
        return grid_priors([x.shape[-2:] for x in maps], self.strides, maps[0].device)

    # ------------------------------------------------------------- training
    def loss(self, x: Sequence[Tensor], batch_data_samples: list) -> dict:
        """Return the losses of a batch; arguments as in mmdet's ``BaseDenseHead``."""
        gt_instances, ignored, img_metas = unpack_gt_instances(batch_data_samples)
        cls_scores, bbox_dists = self._forward_logits(x)
        with torch.no_grad():  # the assigner's; the loss integrates the positives anew
            bbox_preds = [integral(dists.float(), self.reg_max) * stride
                          for dists, stride in zip(bbox_dists, self.strides)]
        return self.loss_by_feat(cls_scores, bbox_preds, bbox_dists, gt_instances, img_metas,
                                 ignored)

    def loss_by_feat(self,
                     cls_scores: List[Tensor],
                     bbox_preds: List[Tensor],
                     bbox_dists: List[Tensor],
                     batch_gt_instances: List[InstanceData],
                     batch_img_metas: List[dict],
                     batch_gt_instances_ignore: Optional[list] = None) -> dict:
        """Return the weighted losses.

        Args:
            cls_scores (list[Tensor]): Logits (B, num_classes, H, W) per level.
            bbox_preds (list[Tensor]): Distances (B, 4, H, W) in pixels per level.
                If they carry no gradient, those of the positives are computed
                again from ``bbox_dists``.
            bbox_dists (list[Tensor]): Logits (B, 4 * (reg_max + 1), H, W) per level.
            batch_gt_instances (list[InstanceData]): ``bboxes``, ``labels`` and,
                for ``instance_weights``, ``weights``.
            batch_img_metas (list[dict]): Not used; mmdet's interface.
            batch_gt_instances_ignore (list, optional): ``bboxes`` and ``labels`` of the
                regions to ignore, for ``ignored_regions``.

        Returns:
            dict[str, Tensor]: ``loss_cls``, ``loss_bbox`` and ``loss_dfl``.
        """
        # single precision: an IoU to the sixth power is below what half can hold
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            logits = flatten_levels(cls_scores).float()
            priors, strides = self._priors(cls_scores)
            with torch.no_grad():
                boxes = distances_to_boxes(priors, flatten_levels(bbox_preds).float())
            targets = pad_targets(batch_gt_instances, logits.device)
            assigned = self.assigner.assign(logits.detach().sigmoid(), boxes, priors, targets)
            targets_cls, extra = assigned.assigned_scores, {}
            if self.instance_weights:
                weights = pad_weights(batch_gt_instances, targets.mask)
                extra['weight'] = assigned.gather(weights)
                # the box losses read these scores as weights only
                assigned = replace(assigned, assigned_scores=targets_cls * extra['weight'])
            if self.ignored_regions and batch_gt_instances_ignore:
                unknown = ignored_priors(batch_gt_instances_ignore, priors, self.num_classes,
                                         self.ignored_regions)
                if unknown is not None:
                    extra['ignore_mask'] = unknown
            avg_factor = reduce_mean(assigned.assigned_scores.sum()).clamp(min=1)
            loss_cls = self.loss_cls(logits, assigned.labels, targets_cls, assigned.pos_mask,
                                     avg_factor, **extra)
            loss_bbox, loss_dfl = positive_box_losses(
                self.loss_bbox, self.loss_dfl, bbox_preds, bbox_dists, priors, strides, assigned,
                avg_factor, self.reg_max)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_dfl=loss_dfl)

    # ------------------------------------------------------------ inference
    def _predict_by_feat_single(self,
                                cls_score_list: List[Tensor],
                                bbox_pred_list: List[Tensor],
                                score_factor_list: List[Tensor],
                                mlvl_priors: List[Tensor],
                                img_meta: dict,
                                cfg: Optional[ConfigDict],
                                rescale: bool = False,
                                with_nms: bool = True) -> InstanceData:
        """Select, suppress and map back the boxes of one image.

        Unlike mmdet's method, which keeps ``nms_pre`` candidates of each level,
        this keeps ``nms_pre`` of the image, as the original does (reference.md 5.1).
        """
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        scores = flatten_levels([x[None] for x in cls_score_list])[0].float().sigmoid()
        distances = flatten_levels([x[None] for x in bbox_pred_list])[0].float()
        boxes = distances_to_boxes(torch.cat(mlvl_priors).float(), distances)
        warn_of_nan(scores, boxes)
        scores, labels, priors = select_candidates(
            scores, cfg.get('score_thr', 0), cfg.get('nms_pre', 1000),
            cfg.get('multi_label', True))
        results = InstanceData(bboxes=boxes[priors], scores=scores, labels=labels)
        return self._bbox_post_process(results, cfg, rescale, with_nms, img_meta)

    def _bbox_post_process(self,
                           results: InstanceData,
                           cfg: ConfigDict,
                           rescale: bool = False,
                           with_nms: bool = True,
                           img_meta: Optional[dict] = None) -> InstanceData:
        """Undo padding and scaling, clip, drop what has no area, and suppress."""
        pad_param = img_meta.get('pad_param')
        boxes = results.bboxes
        if rescale and pad_param is not None:
            top, _, left, _ = pad_param
            boxes = boxes - boxes.new_tensor([left, top, left, top])
        if rescale:
            boxes = scale_boxes(boxes, [1 / s for s in img_meta['scale_factor']])
        shape = img_meta.get('ori_shape') if rescale else img_meta.get('img_shape')
        if shape is not None:
            height, width = shape[:2]
            boxes = torch.stack([boxes[:, 0].clamp(0, width), boxes[:, 1].clamp(0, height),
                                 boxes[:, 2].clamp(0, width), boxes[:, 3].clamp(0, height)], -1)
        results.bboxes = boxes
        # those that lay beside the image have no area left
        results = results[((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)]
        # the base class selects and suppresses; boxes are in place already
        return super()._bbox_post_process(results, cfg, False, with_nms, img_meta)
