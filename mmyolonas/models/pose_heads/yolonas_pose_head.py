"""Pose head of YOLO-NAS-Pose."""
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmyolonas.models.losses.box_losses import positive_box_losses
from mmyolonas.models.task_modules.pose_targets import PoseTargets, pad_pose_targets
from mmyolonas.models.task_modules.pose_task_aligned_assigner import PoseAssignResult
from mmyolonas.models.utils import (
    OptConfig,
    check_count,
    distances_to_boxes,
    flatten_levels,
    gather_levels,
    grid_priors,
    integral,
    pick_arch,
)
from mmyolonas.models.utils.keypoints import decode_keypoints
from mmyolonas.registry import MODELS, TASK_UTILS

from .arguments import check_sigmas, per_level
from .pose_head_level import YOLONASPoseHeadLevel
from .post_processing import select_poses


class RawPoseOutputs(NamedTuple):
    """Per-level outputs; see :meth:`YOLONASPoseHead.forward_raw`."""
    cls_scores: List[Tensor]
    bbox_preds: List[Tensor]
    bbox_dists: List[Tensor]
    kpt_offsets: List[Tensor]
    kpt_scores: List[Tensor]


@MODELS.register_module()
class YOLONASPoseHead(BaseModule):
    """One-stage pose head: boxes, key points and confidences (reference.md 3.4, reference.md 8.5).

    Works as the ``head`` of mmpose's ``BottomupPoseEstimator``. One class; the
    confidences of the key points come from the classification branch.

    Deliberate differences from SuperGradients: without positives the four
    terms are zeros that keep every parameter in the graph, which DDP needs;
    and crowds can be ignored instead of counting as background.

    Args:
        num_keypoints (int): Number K of key points.
        arch (str | dict): ``'n'``, ``'s'``, ``'m'``, ``'l'`` or a table with the
            keys of :attr:`arch_settings`; the four arguments of those names
            override it. Defaults to ``'s'``.
        in_channels (Sequence[int], optional): Channels of each feature map.
        feat_channels (Sequence[int], optional): Channels of the box path.
        pose_channels (Sequence[int], optional): Channels of the pose path.
        num_pose_convs (Sequence[int] | int, optional): 3x3 convolutions of the
            pose path, per level.
        num_bbox_convs (Sequence[int] | int): 3x3 convolutions of each branch
            of the box path. Defaults to 1.
        shared_stem (bool): Whether both paths share their stem. Defaults to
            False.
        strides (Sequence[int]): Stride of each level. Defaults to (8, 16, 32).
        reg_max (int): Largest distance in units of the stride. Defaults to 16.
        sigmas (Sequence[float] | float, optional): OKS constant of each key
            point, or one for all. None takes COCO's if K is 17.
        area_factor (float): Object area over box area in the OKS.
            Defaults to 0.53.
        ignore_crowd (bool): Whether priors assigned to a crowd are left out of
            the classification loss instead of being negatives. Needs a
            ``loss_cls`` that accepts ``ignore_mask``. Defaults to False.
        prior_prob (float): Initial confidence. Defaults to 0.01.
        loss_cls (dict): Classification loss, weight 1.
        loss_bbox (dict): Box loss on pixels. Defaults to CIoU, weight 2.5.
        loss_dfl (dict): Loss on the distributions. Defaults to the N and S
            models' weight of 0.01; M and L have 0.5.
        loss_kpt_score (dict): Key-point confidence loss. Defaults to focal.
        loss_kpt (dict): Key-point loss. Defaults to the N and S models' weight
            of 34; M and L have 10.
        assigner (dict): Assigner with the interface of
            :class:`PoseTaskAlignedAssigner`. Defaults to that.
        norm_cfg (dict): Normalisation. The pose models have eps 1e-6 and
            momentum 0.03 (N, L) or 0.1 (S, M).
        act_cfg (dict): Activation. Defaults to ReLU.
        train_cfg (dict, optional): Not used; mmpose's interface.
        test_cfg (dict, optional): ``score_thr``, ``nms_thr``, ``nms_pre`` and
            ``max_per_img`` of :func:`select_poses`.
        feature_adapters (dict, optional): :class:`FeatureAdapters`, for a student
            that is distilled on features.
        init_cfg (dict, optional): Initialisation of the weights.

    Raises:
        ValueError: If ``sigmas`` do not fit ``num_keypoints``, or the lists of
            channels and strides differ in length.
    """

    arch_settings = dict(
        n=dict(in_channels=(64, 128, 256), feat_channels=(48, 88, 168),
               pose_channels=(48, 168, 168), num_pose_convs=(2, 2, 3)),
        s=dict(in_channels=(96, 192, 384), feat_channels=(64, 128, 256),
               pose_channels=(64, 256, 256), num_pose_convs=(2, 2, 3)),
        m=dict(in_channels=(96, 192, 384), feat_channels=(96, 192, 384),
               pose_channels=(96, 384, 384), num_pose_convs=(2, 2, 3)),
        l=dict(in_channels=(96, 192, 384), feat_channels=(128, 256, 512),
               pose_channels=(128, 512, 512), num_pose_convs=(2, 2, 3)))

    def __init__(self,
                 num_keypoints: int,
                 arch: Union[str, dict] = 's',
                 in_channels: Optional[Sequence[int]] = None,
                 feat_channels: Optional[Sequence[int]] = None,
                 pose_channels: Optional[Sequence[int]] = None,
                 num_pose_convs: Union[Sequence[int], int, None] = None,
                 num_bbox_convs: Union[Sequence[int], int] = 1,
                 shared_stem: bool = False,
                 strides: Sequence[int] = (8, 16, 32),
                 reg_max: int = 16,
                 sigmas: Union[Sequence[float], float, None] = None,
                 area_factor: float = 0.53,
                 ignore_crowd: bool = False,
                 prior_prob: float = 0.01,
                 loss_cls: dict = dict(type='mmyolonas.AlignedFocalLoss'),
                 loss_bbox: dict = dict(type='mmyolonas.CIoULoss', loss_weight=2.5),
                 loss_dfl: dict = dict(type='mmyolonas.DistributionFocalLoss', loss_weight=0.01),
                 loss_kpt_score: dict = dict(type='mmyolonas.KeypointConfidenceLoss'),
                 loss_kpt: dict = dict(type='mmyolonas.KeypointOKSLoss', loss_weight=34.0),
                 assigner: dict = dict(type='mmyolonas.PoseTaskAlignedAssigner'),
                 norm_cfg: dict = dict(type='BN', momentum=0.03, eps=1e-6),
                 act_cfg: dict = dict(type='ReLU'),
                 train_cfg: OptConfig = None,
                 test_cfg: OptConfig = None,
                 feature_adapters: OptConfig = None,
                 init_cfg: OptConfig = None) -> None:
        super().__init__(init_cfg)
        self.num_keypoints = check_count(num_keypoints, 'num_keypoints', 'YOLONASPoseHead')
        self.strides = tuple(strides)
        self.reg_max = reg_max
        self.area_factor = area_factor
        self.ignore_crowd = ignore_crowd
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.register_buffer(
            'sigmas', torch.tensor(check_sigmas(sigmas, num_keypoints)), persistent=False)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_dfl = MODELS.build({'reg_max': reg_max, **loss_dfl})
        self.loss_kpt_score = MODELS.build(loss_kpt_score)
        self.loss_kpt = MODELS.build(loss_kpt)
        self.assigner = TASK_UTILS.build({'area_factor': area_factor, **assigner})

        given = dict(in_channels=in_channels, feat_channels=feat_channels,
                     pose_channels=pose_channels, num_pose_convs=num_pose_convs)
        table = dict(pick_arch(arch, self.arch_settings, type(self).__name__))
        table.update({key: value for key, value in given.items() if value is not None})
        rows = {key: per_level(table[key], len(self.strides), key) for key in given}
        rows['num_bbox_convs'] = per_level(num_bbox_convs, len(self.strides), 'num_bbox_convs')
        self.levels = nn.ModuleList(
            YOLONASPoseHeadLevel(
                **{key: row[index] for key, row in rows.items()},
                num_keypoints=num_keypoints,
                reg_out_channels=4 * (reg_max + 1),
                shared_stem=shared_stem,
                prior_prob=prior_prob,
                norm_cfg=norm_cfg,
                act_cfg=act_cfg) for index in range(len(self.strides)))
        self.feature_adapters = MODELS.build(feature_adapters) if feature_adapters else None

    def forward(self, feats: Sequence[Tensor]) -> Tuple[List[Tensor], ...]:
        """Return the outputs of each level.

        Args:
            feats (Sequence[Tensor]): Feature maps of shape (B, in_channels, H, W).

        Returns:
            tuple[list[Tensor], ...]: ``cls_scores`` (B, 1, H, W) logits,
            ``bbox_preds`` (B, 4, H, W): left, top, right, bottom in pixels,
            ``kpt_offsets`` (B, 2 * K, H, W): x0, y0, x1, ... from the top-left
            corner of the cell in units of the stride, ``kpt_scores``
            (B, K, H, W) logits.
        """
        raw = self.forward_raw(feats)
        return raw.cls_scores, raw.bbox_preds, raw.kpt_offsets, raw.kpt_scores

    def forward_raw(self, feats: Sequence[Tensor]) -> RawPoseOutputs:
        """Return :meth:`forward`'s outputs and the logits behind the distances.

        Returns:
            RawPoseOutputs: ``cls_scores``, ``bbox_preds``, ``bbox_dists``
            (B, 4 * (reg_max + 1), H, W) side-major, ``kpt_offsets`` and
            ``kpt_scores``, in the order of :meth:`loss_by_feat`.
        """
        confidences, dists, offsets = self._forward_logits(feats)
        return RawPoseOutputs(
            cls_scores=[x[:, :1] for x in confidences],
            bbox_preds=self._distances(dists),
            bbox_dists=dists,
            kpt_offsets=offsets,
            kpt_scores=[x[:, 1:] for x in confidences])

    def _forward_logits(self, feats: Sequence[Tensor]) -> List[List[Tensor]]:
        outputs = (level(x) for level, x in zip(self.levels, feats))
        return [list(maps) for maps in zip(*outputs)]

    def _distances(self, bbox_dists: Sequence[Tensor]) -> List[Tensor]:
        return [integral(dists, self.reg_max) * stride
                for dists, stride in zip(bbox_dists, self.strides)]

    def decode(self, feats: Sequence[Tensor]) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the predictions of every prior, before any selection.

        Returns:
            tuple[Tensor, Tensor, Tensor, Tensor]: Boxes (B, L, 4), xyxy in pixels
            of the network input, not clipped; scores (B, L, 1) within [0, 1];
            key points (B, L, K, 2) in pixels; key-point scores (B, L, K) within
            [0, 1]. L runs over the levels, row-major within each.
        """
        confidences, dists, offsets = self._forward_logits(feats)
        priors, strides = self._priors(dists)
        boxes = distances_to_boxes(priors, flatten_levels(self._distances(dists)))
        keypoints = decode_keypoints(priors, flatten_levels(offsets), strides)
        confidence = flatten_levels(confidences).sigmoid()
        return boxes, confidence[..., :1], keypoints, confidence[..., 1:]

    def _priors(self, maps: Sequence[Tensor]) -> Tuple[Tensor, Tensor]:
        return grid_priors([x.shape[-2:] for x in maps], self.strides, maps[0].device)

    # ------------------------------------------------------------- training
    def loss(self, feats: Sequence[Tensor], batch_data_samples: list,
             train_cfg: OptConfig = None) -> dict:
        """Return the losses of a batch.

        Args:
            feats (Sequence[Tensor]): Feature maps of shape (B, in_channels, H, W).
            batch_data_samples (list[PoseDataSample]): With
                ``gt_instance_labels`` as :class:`PosePackLabels` or mmpose's
                YOLOX-Pose codec make them.
            train_cfg (dict, optional): Not used; mmpose's interface.

        Returns:
            dict[str, Tensor]: See :meth:`loss_by_feat`.
        """
        confidences, dists, offsets = self._forward_logits(feats)
        with torch.no_grad():  # the assigner's; the loss integrates the positives anew
            bbox_preds = self._distances([x.float() for x in dists])
        return self.loss_by_feat([x[:, :1] for x in confidences], bbox_preds, dists, offsets,
                                 [x[:, 1:] for x in confidences],
                                 [sample.gt_instance_labels for sample in batch_data_samples])

    def loss_by_feat(self,
                     cls_scores: List[Tensor],
                     bbox_preds: List[Tensor],
                     bbox_dists: List[Tensor],
                     kpt_offsets: List[Tensor],
                     kpt_scores: List[Tensor],
                     batch_gt_instances: List[InstanceData],
                     batch_img_metas: Optional[List[dict]] = None) -> dict:
        """Return the weighted losses.

        Args:
            cls_scores (list[Tensor]): Logits (B, 1, H, W) per level.
            bbox_preds (list[Tensor]): Distances (B, 4, H, W) in pixels per level.
                If they carry no gradient, those of the positives are computed
                again from ``bbox_dists``.
            bbox_dists (list[Tensor]): Logits (B, 4 * (reg_max + 1), H, W) per level.
            kpt_offsets (list[Tensor]): Offsets (B, 2 * K, H, W) per level, as in
                :meth:`forward`.
            kpt_scores (list[Tensor]): Logits (B, K, H, W) per level.
            batch_gt_instances (list[InstanceData]): ``bboxes``, ``keypoints``,
                ``keypoints_visible`` and optionally ``crowds``; see
                :func:`pad_pose_targets`.
            batch_img_metas (list[dict], optional): Not used.

        Returns:
            dict[str, Tensor]: ``loss_cls``, ``loss_bbox``, ``loss_dfl``,
            ``loss_kpt_score`` and ``loss_kpt``.
        """
        # single precision: an IoU to the sixth power is below what half can hold
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            logits = flatten_levels(cls_scores).float()
            priors, strides = self._priors(cls_scores)
            targets = pad_pose_targets(batch_gt_instances, self.num_keypoints, logits.device)
            assigned = self._assign(logits, bbox_preds, kpt_offsets, priors, strides, targets)
            avg_factor = assigned.assigned_scores.sum().clamp(min=1)
            options = dict(ignore_mask=assigned.crowd_mask) if self.ignore_crowd else {}
            loss_cls = self.loss_cls(logits, assigned.labels, assigned.assigned_scores,
                                     assigned.pos_mask, avg_factor, **options)
            loss_bbox, loss_dfl = positive_box_losses(
                self.loss_bbox, self.loss_dfl, bbox_preds, bbox_dists, priors, strides, assigned,
                avg_factor, self.reg_max)
            loss_kpt_score, loss_kpt = self._keypoint_losses(
                kpt_offsets, kpt_scores, priors, strides, targets, assigned, avg_factor)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_dfl=loss_dfl,
                    loss_kpt_score=loss_kpt_score, loss_kpt=loss_kpt)

    @torch.no_grad()
    def _assign(self, logits: Tensor, bbox_preds: List[Tensor], kpt_offsets: List[Tensor],
                priors: Tensor, strides: Tensor, targets: PoseTargets) -> PoseAssignResult:
        boxes = distances_to_boxes(priors, flatten_levels(bbox_preds).float())
        keypoints = decode_keypoints(priors, flatten_levels(kpt_offsets).float(), strides)
        return self.assigner.assign(logits.sigmoid(), boxes, keypoints, priors, targets,
                                    self.sigmas)

    def _keypoint_losses(self, kpt_offsets: List[Tensor], kpt_scores: List[Tensor],
                         priors: Tensor, strides: Tensor, targets: PoseTargets,
                         assigned: PoseAssignResult,
                         avg_factor: Tensor) -> Tuple[Tensor, Tensor]:
        """Return key-point confidence and OKS loss of the positives."""
        image, prior = positives = assigned.pos_mask.nonzero(as_tuple=True)
        if len(image) == 0:
            zero = sum(x.sum() for x in (*kpt_offsets, *kpt_scores)) * 0
            return zero, zero
        offsets = gather_levels(kpt_offsets, positives).float()
        scores = gather_levels(kpt_scores, positives).float()
        obj = assigned.gt_inds[positives]
        visible = targets.visible[image, obj]
        weight = assigned.assigned_scores[positives]
        sides = assigned.bboxes[positives][:, 2:] - assigned.bboxes[positives][:, :2]
        loss_kpt = self.loss_kpt(
            decode_keypoints(priors[prior], offsets, strides[prior]),
            targets.keypoints[image, obj], visible, sides.prod(-1) * self.area_factor,
            self.sigmas, weight, avg_factor)
        return self.loss_kpt_score(scores, visible, weight, avg_factor), loss_kpt

    # ------------------------------------------------------------ inference
    def predict(self, feats: Sequence[Tensor], batch_data_samples: list,
                test_cfg: OptConfig = None) -> List[InstanceData]:
        """Return the poses of a batch in pixels of the network input.

        Args:
            feats (Sequence[Tensor]): Feature maps of shape (B, in_channels, H, W).
            batch_data_samples (list[PoseDataSample]): Not read; the estimator
                maps the result back with their meta data.
            test_cfg (dict, optional): Thresholds; None takes the head's.

        Returns:
            list[InstanceData]: See :func:`select_poses`.

        Raises:
            NotImplementedError: For flip or multi-scale testing.
        """
        if not isinstance(feats[0], Tensor):
            raise NotImplementedError(
                'YOLONASPoseHead has no test-time augmentation: set flip_test=False and '
                'multiscale_test=False in test_cfg.')
        cfg = test_cfg or self.test_cfg or {}
        keys = ('score_thr', 'nms_thr', 'nms_pre', 'max_per_img')
        return select_poses(*self.decode(feats), **{key: cfg[key] for key in keys if key in cfg})
