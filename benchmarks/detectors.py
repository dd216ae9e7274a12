"""One training step, and the loss alone, of each implementation that train_step.py compares.

Runs inside the workers. Every class builds YOLO-NAS and its optimiser with the implementation's
own code and puts the same images and boxes into the form that implementation takes.
"""
import contextlib
from dataclasses import dataclass
from typing import Callable, ContextManager, List, Tuple

import torch
from torch import Tensor

from benchmarks.common import stand_in

STRIDES = (8, 16, 32)
REG_MAX = 16


@dataclass
class Problem:
    """What is computed.

    Attributes:
        arch (str): ``'s'``, ``'m'`` or ``'l'``.
        size (int): Side of the square images, a multiple of 32.
        batch (int): Images a step.
        boxes (int): Boxes an image.
        classes (int): Number of classes.
        memory_format (str): ``'default'`` leaves the implementation as it is,
            ``'channels_last'`` converts model and images first.
        compile (bool): Whether to run the model through ``torch.compile``.
        device (str): Where it is computed.
        precision (str): ``'fp32'``; ``'fp16'`` (mixed, with a GradScaler) or ``'bf16'`` (mixed).
    """
    arch: str = 's'
    size: int = 320
    batch: int = 8
    boxes: int = 12
    classes: int = 80
    memory_format: str = 'default'
    compile: bool = False
    device: str = 'cpu'
    precision: str = 'fp32'

    def images(self) -> Tensor:
        """Return images (B, 3, size, size) within [0, 1]."""
        images = torch.rand(
            self.batch, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        if self.memory_format == 'channels_last':
            images = images.contiguous(memory_format=torch.channels_last)
        return images.to(self.device)

    def targets(self) -> Tuple[Tensor, Tensor]:
        """Return xyxy boxes (B, boxes, 4) in pixels and labels (B, boxes)."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.batch, self.boxes)
        sides = self.size * (0.05 + 0.45 * torch.rand(*shape, 2, generator=generator))
        corner = (self.size - sides) * torch.rand(*shape, 2, generator=generator)
        labels = torch.randint(self.classes, shape, generator=generator)
        boxes = torch.cat([corner, corner + sides], dim=-1)
        return boxes.to(self.device), labels.to(self.device)

    def flat_targets(self) -> Tensor:
        """Return rows (image, class, cx, cy, w, h) in pixels, of shape (N, 6)."""
        boxes, labels = self.targets()
        image = torch.arange(self.batch, device=self.device)[:, None].expand_as(labels)
        centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        rows = [image[..., None], labels[..., None], centres, sides]
        return torch.cat([row.float() for row in rows], dim=-1).flatten(0, 1)

    def logits(self) -> Tuple[List[Tensor], List[Tensor]]:
        """Return class logits and distribution logits per level, (B, C, H, W) each."""
        generator = torch.Generator().manual_seed(2)

        def maps(channels: int, shift: float) -> List[Tensor]:
            return [(shift + torch.randn(self.batch, channels, self.size // stride,
                                         self.size // stride, generator=generator)
                     ).to(self.device) for stride in STRIDES]

        return maps(self.classes, -4), maps(4 * (REG_MAX + 1), 0)

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Apply what is wanted of device and memory format."""
        model.train().to(self.device)
        if self.memory_format == 'channels_last':
            model.to(memory_format=torch.channels_last)
        return model

    def autocast(self) -> ContextManager:
        """Return the mixed precision that is wanted."""
        if self.precision == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device.partition(':')[0],
                              dict(fp16=torch.float16, bf16=torch.bfloat16)[self.precision])


def step_function(forward_loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer,
                  problem: Problem) -> Callable[[], float]:
    """Return a function that does one training step and returns the loss."""
    scaler = torch.amp.GradScaler(problem.device.partition(':')[0],
                                  enabled=problem.precision == 'fp16')

    def step() -> float:
        optimizer.zero_grad()
        with problem.autocast():
            loss = forward_loss()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def loss_function(forward_loss: Callable[[], Tensor],
                  leaves: List[Tensor]) -> Callable[[], float]:
    """Return a function that does one forward and backward to the leaves."""

    def run() -> float:
        for leaf in leaves:
            leaf.grad = None
        loss = forward_loss()
        loss.backward()
        return loss.item()

    return run


def as_leaves(*tensors: Tensor) -> List[Tensor]:
    """Return detached copies that take gradients."""
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


class MMYolonas:
    """This package."""

    def __init__(self, problem: Problem) -> None:
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        import mmyolonas  # noqa: F401, applies the repairs first
        self.problem = problem
        self.instances = [InstanceData(bboxes=boxes, labels=labels)
                          for boxes, labels in zip(*problem.targets())]
        shape = (problem.size, problem.size)
        self.metas = [dict(img_shape=shape, pad_shape=shape,
                           batch_input_shape=shape)] * problem.batch
        self.samples = [DetDataSample(gt_instances=instances, metainfo=meta)
                        for instances, meta in zip(self.instances, self.metas)]

    def _build(self) -> torch.nn.Module:
        from mmyolonas.registry import MODELS
        feat_channels = dict(s=(64, 128, 256), m=(96, 192, 384), l=(128, 256, 512))
        model = MODELS.build(
            dict(
                type='mmyolonas.YOLONAS',
                backbone=dict(type='mmyolonas.YOLONASBackbone', arch=self.problem.arch),
                neck=dict(type='mmyolonas.YOLONASPAN', arch=self.problem.arch),
                bbox_head=dict(
                    type='mmyolonas.YOLONASHead', num_classes=self.problem.classes,
                    feat_channels=feat_channels[self.problem.arch])))
        return model.to(self.problem.device)

    def step(self) -> Callable[[], float]:
        """Return a training step as mmengine's ``train_step`` does it."""
        from mmengine.optim import build_optim_wrapper
        model = self.problem.prepare(self._build())
        wrapper = build_optim_wrapper(
            model,
            dict(
                constructor='mmyolonas.MergedGroupsConstructor',
                optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-5),
                paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0)))
        images = self.problem.images()
        if self.problem.compile:  # the loss takes objects that a graph cannot hold
            model.extract_feat = torch.compile(model.extract_feat)

        def forward_loss() -> Tensor:
            return model.parse_losses(model.loss(images, self.samples))[0]

        return step_function(forward_loss, wrapper.optimizer, self.problem)

    def loss(self) -> Callable[[], float]:
        """Return assignment and loss on given outputs, with distances decoded."""
        from mmyolonas.models.utils import integral
        head = self._build().bbox_head
        scores, dists = self.problem.logits()
        preds = [integral(x, REG_MAX) * stride for x, stride in zip(dists, STRIDES)]
        leaves = as_leaves(*scores, *preds, *dists)
        levels = len(STRIDES)
        outputs = [leaves[i:i + levels] for i in range(0, 3 * levels, levels)]

        def forward_loss() -> Tensor:
            return sum(head.loss_by_feat(*outputs, self.instances, self.metas).values())

        return loss_function(forward_loss, leaves)

    def decode_loss(self) -> Callable[[], float]:
        """Return decoding, assignment and loss on given logits."""
        head = self._build().bbox_head
        scores, dists = self.problem.logits()
        leaves = as_leaves(*scores, *dists)
        head._forward_logits = lambda feats: (leaves[:len(STRIDES)], leaves[len(STRIDES):])

        def forward_loss() -> Tensor:
            return sum(head.loss(None, self.samples).values())

        return loss_function(forward_loss, leaves)


class ModernYolonas:
    """modern-yolonas from PyPI."""

    def __init__(self, problem: Problem) -> None:
        stand_in('albumentations', 'supervision')  # of its data pipeline and drawing
        from modern_yolonas.training.loss import PPYoloELoss
        self.problem = problem
        self.criterion = PPYoloELoss(num_classes=problem.classes).to(problem.device)
        self.targets = problem.flat_targets()
        self.targets[:, 2:] /= problem.size

    def _build(self) -> torch.nn.Module:
        from modern_yolonas.model import YoloNAS
        model = YoloNAS.from_config(f'yolo_nas_{self.problem.arch}', self.problem.classes)
        return model.to(self.problem.device)

    def step(self) -> Callable[[], float]:
        """Return a training step as its Lightning module does it."""
        from modern_yolonas.training.optimizer import create_optimizer
        model = self.problem.prepare(self._build())
        compute = torch.compile(model) if self.problem.compile else model
        images = self.problem.images()

        def forward_loss() -> Tensor:
            return self.criterion(compute(images), self.targets)[0]

        return step_function(forward_loss, create_optimizer(model), self.problem)

    def _with_logits(self, given_boxes: bool) -> Callable[[], float]:
        heads = self._build().heads.train()
        scores, dists = self.problem.logits()
        leaves = as_leaves(*scores, *dists)
        for index in range(len(STRIDES)):
            pair = (leaves[len(STRIDES) + index], leaves[index])
            getattr(heads, f'head{index + 1}').forward = lambda feat, pair=pair: pair
        if not given_boxes:
            return loss_function(lambda: self.criterion(heads(scores), self.targets)[0], leaves)
        (boxes, _), raw = heads(scores)
        leaves = as_leaves(boxes, *raw[:2])
        predictions = (leaves[0], leaves[1].detach().sigmoid()), (*leaves[1:], *raw[2:])
        return loss_function(lambda: self.criterion(predictions, self.targets)[0], leaves)

    def loss(self) -> Callable[[], float]:
        """Return assignment and loss on given outputs, with boxes and scores decoded."""
        return self._with_logits(given_boxes=True)

    def decode_loss(self) -> Callable[[], float]:
        """Return decoding, assignment and loss on given logits."""
        return self._with_logits(given_boxes=False)


class SuperGradients:
    """SuperGradients 3.7.1, whose loss decodes the boxes itself."""

    def __init__(self, problem: Problem) -> None:
        stand_in('onnxsim', 'data_gradients')  # of its export and data analysis
        from super_gradients.training.losses import PPYoloELoss
        self.problem = problem
        self.criterion = PPYoloELoss(
            num_classes=problem.classes, use_static_assigner=False).to(problem.device)
        self.targets = problem.flat_targets()

    def _build(self) -> torch.nn.Module:
        from super_gradients.training import models
        model = models.get(f'yolo_nas_{self.problem.arch}', num_classes=self.problem.classes)
        return model.to(self.problem.device)

    def step(self) -> Callable[[], float]:
        """Return a training step as its trainer does it."""
        model = self.problem.prepare(self._build())
        compute = torch.compile(model) if self.problem.compile else model
        images = self.problem.images()
        groups = {True: [], False: []}
        for parameter in model.parameters():
            groups[parameter.dim() > 1].append(parameter)
        optimizer = torch.optim.AdamW(
            [dict(params=groups[True], weight_decay=1e-5),
             dict(params=groups[False], weight_decay=0)], lr=2e-4)
        return step_function(lambda: self.criterion(compute(images), self.targets)[0], optimizer,
                             self.problem)

    def decode_loss(self) -> Callable[[], float]:
        """Return decoding, assignment and loss on given logits."""
        heads = self._build().heads
        scores, dists = self.problem.logits()
        _, raw = heads([torch.rand(self.problem.batch, channels, *x.shape[2:], device=x.device)
                        for channels, x in zip(heads.in_channels, scores)])

        def flat(maps: List[Tensor]) -> Tensor:
            return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2).contiguous()

        leaves = as_leaves(flat(scores), flat(dists))
        outputs = None, (*leaves, *raw[2:])
        return loss_function(lambda: self.criterion(outputs, self.targets)[0], leaves)

    loss = decode_loss


class RTMDet:
    """mmdet's RTMDet-s: another network of about that size, as its own config has it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        ours = MMYolonas(problem)
        self.samples = ours.samples

    def _build(self) -> torch.nn.Module:
        from mmdet.registry import MODELS
        from mmengine.config import Config
        from mmengine.model import revert_sync_batchnorm
        from mmengine.registry import init_default_scope
        from mmengine.utils import get_installed_path
        init_default_scope('mmdet')
        cfg = Config.fromfile(f'{get_installed_path("mmdet")}/.mim/configs/rtmdet/'
                              'rtmdet_s_8xb32-300e_coco.py').model
        cfg.backbone.init_cfg = None  # would be downloaded
        cfg.bbox_head.num_classes = self.problem.classes
        return revert_sync_batchnorm(MODELS.build(cfg)).to(self.problem.device)

    def step(self) -> Callable[[], float]:
        """Return a training step as mmengine's ``train_step`` does it."""
        model = self.problem.prepare(self._build())
        images = self.problem.images()
        if self.problem.compile:
            model.extract_feat = torch.compile(model.extract_feat)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.05)
        return step_function(
            lambda: model.parse_losses(model.loss(images, self.samples))[0], optimizer,
            self.problem)


IMPLEMENTATIONS = {
    'mmyolonas': MMYolonas,
    'modern-yolonas': ModernYolonas,
    'super-gradients': SuperGradients,
    'rtmdet-s': RTMDet,
}
