"""ONNX operators that torch has no counterpart for, with an eager equivalent."""
from typing import Tuple

import torch
from torch import Tensor
from torchvision.ops import nms


class TopK(torch.autograd.Function):
    """``TopK`` along the last dimension with ``min(k, size)`` entries.

    ``torch.topk`` freezes ``k`` when it is traced, so a dynamic input smaller
    than the traced one would fail.
    """

    @staticmethod
    def forward(ctx, x: Tensor, k: int) -> Tuple[Tensor, Tensor]:
        """Return values and indices, sorted."""
        values, indices = x.topk(min(k, x.shape[-1]), dim=-1)
        return values, indices

    @staticmethod
    def symbolic(g, x, k: int):
        """Write the operator; a static size is folded into its constant."""
        limit = g.op('Constant', value_t=torch.tensor([k]))
        sizes = x.type().sizes()
        size = None if sizes is None else sizes[-1]
        if size is not None:
            limit = g.op('Constant', value_t=torch.tensor([min(k, size)]))
        else:
            last = g.op('Constant', value_t=torch.tensor([-1]))
            limit = g.op('Min', limit, g.op('Gather', g.op('Shape', x), last, axis_i=0))
        values, indices = g.op('TopK', x, limit, axis_i=-1, largest_i=1, sorted_i=1, outputs=2)
        return values, indices


class NonMaxSuppression(torch.autograd.Function):
    """``NonMaxSuppression`` over one class of every image."""

    @staticmethod
    def forward(ctx, boxes: Tensor, scores: Tensor, max_output: int, iou_threshold: float,
                score_threshold: float) -> Tensor:
        """Return the kept boxes as rows (image, 0, box), best first within an image.

        Args:
            boxes (Tensor): xyxy of shape (B, N, 4).
            scores (Tensor): Scores of shape (B, 1, N).
            max_output (int): Boxes per image.
            iou_threshold (float): See :class:`mmyolonas.export.metadata.Postprocess`.
            score_threshold (float): See there.
        """
        rows = []
        for index, (box, score) in enumerate(zip(boxes, scores[:, 0])):
            valid = (score > score_threshold).nonzero().squeeze(1)
            kept = valid[nms(box[valid], score[valid], iou_threshold)][:max_output]
            row = kept.new_zeros(len(kept), 3)
            row[:, 0], row[:, 2] = index, kept
            rows.append(row)
        return torch.cat(rows)

    @staticmethod
    def symbolic(g, boxes, scores, max_output: int, iou_threshold: float,
                 score_threshold: float):
        """Write the operator."""
        return g.op('NonMaxSuppression', boxes, scores,
                    g.op('Constant', value_t=torch.tensor([max_output])),
                    g.op('Constant', value_t=torch.tensor([iou_threshold])),
                    g.op('Constant', value_t=torch.tensor([score_threshold])))


class ScatterND(torch.autograd.Function):
    """``ScatterND``: copy of ``data`` with ``updates`` at ``indices``."""

    @staticmethod
    def forward(ctx, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        """``indices`` (n, 2) address single entries of a matrix."""
        return data.index_put(tuple(indices.t()), updates)

    @staticmethod
    def symbolic(g, data, indices, updates):
        """Write the operator."""
        return g.op('ScatterND', data, indices, updates)


class EfficientNMSOp(torch.autograd.Function):
    """TensorRT's plugin ``EfficientNMS_TRT``; eagerly an exact stand-in."""

    @staticmethod
    def forward(ctx, boxes: Tensor, scores: Tensor, max_output: int, iou_threshold: float,
                score_threshold: float, class_agnostic: bool):
        """Return the plugin's four outputs; rows beyond the count are 0."""
        batch, _, num_classes = scores.shape
        counts = boxes.new_zeros((batch, 1), dtype=torch.int32)
        out_boxes = boxes.new_zeros((batch, max_output, 4))
        out_scores = boxes.new_zeros((batch, max_output))
        out_labels = boxes.new_zeros((batch, max_output), dtype=torch.int32)
        for index in range(batch):
            prior, label = (scores[index] > score_threshold).nonzero(as_tuple=True)
            box, score = boxes[index][prior], scores[index][prior, label]
            offset = 0 if class_agnostic else label[:, None] * (box.max() + 1 if len(box) else 1)
            kept = nms(box + offset, score, iou_threshold)[:max_output]
            count = len(kept)
            counts[index] = count
            out_boxes[index, :count] = box[kept]
            out_scores[index, :count] = score[kept]
            out_labels[index, :count] = label[kept].int()
        return counts, out_boxes, out_scores, out_labels

    @staticmethod
    def symbolic(g, boxes, scores, max_output: int, iou_threshold: float,
                 score_threshold: float, class_agnostic: bool):
        """Write the plugin node."""
        outputs = g.op(
            'TRT::EfficientNMS_TRT', boxes, scores, plugin_version_s='1', background_class_i=-1,
            max_output_boxes_i=max_output, iou_threshold_f=iou_threshold,
            score_threshold_f=score_threshold, score_activation_i=0, box_coding_i=0,
            class_agnostic_i=int(class_agnostic), outputs=4)
        sizes = scores.type().sizes()
        batch = None if sizes is None else sizes[0]
        kinds = (scores.type().with_dtype(torch.int32), scores.type(), scores.type(),
                 scores.type().with_dtype(torch.int32))
        for output, kind, shape in zip(outputs, kinds, (
                [batch, 1], [batch, max_output, 4], [batch, max_output], [batch, max_output])):
            output.setType(kind.with_sizes(shape))
        return outputs
