"""Reads a teacher's dense predictions, whatever its head."""
from typing import List, Optional, Sequence, Tuple

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmyolonas.models.utils import distances_to_boxes, flatten_levels, grid_priors, integral
from mmyolonas.models.utils.keypoints import decode_keypoints
from mmyolonas.utils import UserError

from .outputs import StudentOutputs, TeacherOutputs


class YOLONASReader:
    """Reads a YOLO-NAS detector or pose estimator.

    Args:
        model (nn.Module): The teacher.
        head (nn.Module): Its head.
        same_bins (bool): Whether the student's distributions have as many bins.
    """

    def __init__(self, model: nn.Module, head: nn.Module, same_bins: bool) -> None:
        self.model = model
        self.head = head
        self.same_bins = same_bins

    def __call__(self, inputs: Tensor) -> TeacherOutputs:
        """Return the predictions for (B, 3, H, W) images."""
        feats = self.model.extract_feat(inputs)
        raw = self.head.forward_raw(feats)
        return as_teacher(self.head, StudentOutputs(
            raw.cls_scores, raw.bbox_dists, getattr(raw, 'kpt_offsets', []),
            getattr(raw, 'kpt_scores', []), feats), self.same_bins)


@torch.no_grad()
def as_teacher(head: nn.Module, outputs: StudentOutputs,
               same_bins: bool = True) -> TeacherOutputs:
    """Return what a YOLO-NAS head predicts as the opinion of a teacher.

    Args:
        head (nn.Module): The head that gave the outputs.
        outputs (StudentOutputs): Its outputs; their gradient is left behind.
        same_bins (bool): Whether the student's distributions have as many bins.
            Defaults to True.
    """
    maps = [x.detach() for x in outputs.bbox_dists]
    scores = [x.detach() for x in outputs.cls_scores]
    priors, strides = grid_priors([x.shape[-2:] for x in maps], head.strides, maps[0].device)
    distances = [integral(x.float(), head.reg_max) * stride
                 for x, stride in zip(maps, head.strides)]
    teacher = TeacherOutputs(
        scores=flatten_levels(scores).float().sigmoid(),
        boxes=distances_to_boxes(priors, flatten_levels(distances)),
        bbox_dists=maps if same_bins else None,
        feats=[x.detach() for x in outputs.feats])
    if outputs.kpt_offsets:
        offsets = flatten_levels([x.detach() for x in outputs.kpt_offsets]).float()
        teacher.keypoints = decode_keypoints(priors, offsets, strides)
        teacher.keypoint_scores = flatten_levels(
            [x.detach() for x in outputs.kpt_scores]).float().sigmoid()
    return teacher


class DenseHeadReader:
    """Reads any single-stage detector of mmdet that follows its base class.

    That is: ``forward`` gives class scores, box predictions and perhaps a score
    factor (centerness, objectness) per level, the boxes come from
    ``prior_generator`` and ``bbox_coder``. Of several anchors at a place the
    most confident one speaks. Levels that the student lacks are left out.
    Distributions over box sides are passed on if they count from the
    student's priors (mmdet's GFL counts from the corners of the cells, so that
    its boxes are compared instead).

    Whether a head is understood is found out by asking it for its own
    best prediction; see :meth:`check`.

    Args:
        model (nn.Module): The teacher.
        head (nn.Module): Its ``bbox_head``.
        strides (Sequence[int]): Strides of the student's levels.
        reg_max (int): The student's.

    Raises:
        UserError: The head has no level of one of the strides, or is not
            understood.
    """

    def __init__(self, model: nn.Module, head: nn.Module, strides: Sequence[int],
                 reg_max: int) -> None:
        self.model = model
        self.head = head
        own = stride_numbers(head)
        self.levels = [own.index(stride) for stride in strides]
        self.strides = tuple(strides)
        self.reg_max = reg_max
        self.comparable = False  # set by the check
        self.check()

    def __call__(self, inputs: Tensor) -> TeacherOutputs:
        """Return the predictions for (B, 3, H, W) images."""
        feats = self.model.extract_feat(inputs)
        outs = self.head(feats)
        levels = self._decode(outs)
        scores, boxes = zip(*(levels[index] for index in self.levels))
        dists = [outs[1][index] for index in self.levels]
        return TeacherOutputs(
            scores=torch.cat(scores, dim=1),
            boxes=torch.cat(boxes, dim=1),
            bbox_dists=dists if self.comparable else None,
            feats=[feats[index] for index in self.levels])

    def _decode(self, outs: Sequence[List[Tensor]]) -> List[Tuple[Tensor, Tensor]]:
        """Return scores (B, H * W, C) and boxes (B, H * W, 4) of each level."""
        head = self.head
        factors = outs[2] if len(outs) > 2 else [None] * len(outs[0])
        options = dict(with_stride=True) if hasattr(head, '_bbox_decode') else {}
        priors = head.prior_generator.grid_priors(
            [x.shape[-2:] for x in outs[0]], dtype=torch.float32, device=outs[0][0].device,
            **options)
        return [self._decode_level(*maps) for maps in
                zip(outs[0], outs[1], factors, priors, stride_numbers(head))]

    def _decode_level(self, cls_score: Tensor, bbox_pred: Tensor, factor: Optional[Tensor],
                      priors: Tensor, stride: int) -> Tuple[Tensor, Tensor]:
        head, batch = self.head, len(cls_score)

        def rows(x: Tensor, width: int) -> Tensor:
            return x.float().permute(0, 2, 3, 1).reshape(batch, -1, width)

        logits = rows(cls_score, head.cls_out_channels)
        if getattr(head.loss_cls, 'custom_cls_channels', False):
            scores = head.loss_cls.get_activation(logits)
        elif head.use_sigmoid_cls:
            scores = logits.sigmoid()
        else:
            scores = logits.softmax(-1)[..., :-1]
        if factor is not None:
            scores = scores * rows(factor, 1).sigmoid()
        width = 4 * (head.reg_max + 1) if hasattr(head, 'integral') else 4
        boxes = self._boxes(rows(bbox_pred, width), priors, stride)
        anchors = getattr(head, 'num_base_priors', 1)
        if anchors > 1:
            scores, boxes = (x.unflatten(1, (-1, anchors)) for x in (scores, boxes))
            best = scores.amax(-1).argmax(-1)[..., None, None]  # (B, H * W, 1, 1)
            scores, boxes = (x.gather(2, best.expand(-1, -1, 1, x.shape[-1])).squeeze(2)
                             for x in (scores, boxes))
        return scores, boxes

    def _boxes(self, preds: Tensor, priors: Tensor, stride: int) -> Tensor:
        """Return boxes (B, N, 4) of predictions (B, N, ...) and priors (N, ...)."""
        head = self.head
        if hasattr(head, '_bbox_decode'):  # YOLOX and its kin
            return head._bbox_decode(priors, preds)
        if hasattr(head, 'integral'):  # GFL and its kin
            preds = head.integral(preds.flatten(0, 1)).view(*preds.shape[:2], 4) * stride
            priors = head.anchor_center(priors)
        priors = priors.expand(len(preds), *priors.shape).flatten(0, 1)
        return head.bbox_coder.decode(priors, preds.flatten(0, 1)).view(*preds.shape[:2], 4)

    def _comparable(self, outs: Sequence[List[Tensor]]) -> bool:
        """Whether the distributions count from the student's priors in its bins."""
        if not hasattr(self.head, 'integral') or self.head.reg_max != self.reg_max:
            return False
        sizes = [x.shape[-2:] for x in outs[0]]
        anchors = self.head.prior_generator.grid_priors(sizes, device=outs[0][0].device)
        own = grid_priors([sizes[i] for i in self.levels], self.strides, outs[0][0].device)[0]
        theirs = torch.cat([self.head.anchor_center(anchors[i]) for i in self.levels])
        return bool(torch.allclose(own, theirs))

    @torch.no_grad()
    def check(self, size: int = 128) -> None:
        """Compare the best box and score with what the head predicts by itself.

        Also finds out whether its distributions compare.

        Args:
            size (int): Side length of a random image, a multiple of every
                stride. Defaults to 128.

        Raises:
            UserError: They differ, or the head does not work this way.
        """
        device = next(self.model.parameters()).device
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, size, size, generator=generator).to(device)
        name = type(self.head).__name__
        try:
            outs = self.head(self.model.extract_feat(image))
            own = self.head.predict_by_feat(
                *outs, batch_img_metas=[dict(img_shape=(size, size), scale_factor=(1.0, 1.0))],
                cfg=ConfigDict(score_thr=0, nms_pre=1000, min_bbox_size=-1), rescale=False,
                with_nms=False)[0]
            scores, boxes = (torch.cat(x, dim=1)[0] for x in zip(*self._decode(outs)))
            best = own.scores.argmax()
            same = (scores.amax(-1) - own.scores[best]).abs() < 1e-5
            boxes, wanted = (x.clamp(0, size) for x in (boxes, own.bboxes[best]))
            same &= ((boxes - wanted).abs() < 1e-2).all(-1)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f'DistillationHook: a {name} cannot be a teacher, its outputs are not '
                            f"those of mmdet's base class ({error}).") from error
        if not same.any():
            raise UserError(f'DistillationHook: a {name} cannot be a teacher, it scores or '
                            "decodes its boxes in another way than mmdet's base class.")
        self.comparable = self._comparable(outs)


def stride_numbers(head: nn.Module) -> List[int]:
    """Return the stride of each level of a head of ours or of mmdet."""
    strides = getattr(head, 'strides', None)
    if strides is None:
        strides = getattr(getattr(head, 'prior_generator', None), 'strides', ())
    return [int(stride[0]) if isinstance(stride, (tuple, list)) else int(stride)
            for stride in strides]
