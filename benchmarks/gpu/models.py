"""The seven models, batches for them, and comparisons of tensors."""
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, List, Tuple

import torch
from torch import Tensor, nn

DETECTION = ('s', 'm', 'l')
POSE = ('pose_n', 'pose_s', 'pose_m', 'pose_l')
MODELS = (*DETECTION, *POSE)
DTYPES = dict(fp32=None, fp16=torch.float16, bf16=torch.bfloat16)


def load(name: str) -> Any:
    """Return the published config of a model.

    Args:
        name (str): One of :data:`MODELS`.
    """
    from mmengine.config import Config

    from benchmarks.common import ROOT
    folder = 'yolonas_pose' if name.startswith('pose') else 'yolonas'
    return Config.fromfile(ROOT / 'configs' / folder / f'yolonas_{name}_coco.py')


def build(name: str) -> nn.Module:
    """Return a published model with weights by seed 0, on the CPU.

    Args:
        name (str): One of :data:`MODELS`.
    """
    from mmengine.registry import MODELS as REGISTRY
    from mmengine.registry import init_default_scope
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return REGISTRY.build(cfg.model)


def head_of(model: nn.Module) -> nn.Module:
    """Return a model's head."""
    return getattr(model, 'bbox_head', None) or model.head


def make_batch(name: str, size: int, batch: int, device: str, objects: int = 12) -> Tuple:
    """Return images within [0, 1] and data samples of a model on a device."""
    if name.startswith('pose'):
        from benchmarks.pose_models import Problem
        problem = Problem(size=size, batch=batch, persons=min(objects, 4))
        samples = problem.samples()
        for sample in samples:
            sample.gt_instance_labels = sample.gt_instance_labels.to(device)
        return problem.images().to(device), samples
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from benchmarks.detectors import Problem as Detection
    problem = Detection(size=size, batch=batch, boxes=objects)
    meta = dict(img_shape=(size, size), batch_input_shape=(size, size))
    samples = [DetDataSample(gt_instances=InstanceData(
        bboxes=boxes.to(device), labels=labels.to(device)), metainfo=meta)
        for boxes, labels in zip(*problem.targets())]
    return problem.images().to(device), samples


def autocast(device: str, precision: str) -> ContextManager:
    """Return mixed precision by its name; nothing for ``'fp32'``."""
    dtype = DTYPES[precision]
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.partition(':')[0], dtype)


def loss_of(model: nn.Module, images: Tensor, samples: List[Any]) -> Tensor:
    """Return what is minimised."""
    losses = model.loss(images, samples)
    return sum(value.mean() for name, value in losses.items() if 'loss' in name)


def decoded(model: nn.Module, images: Tensor) -> Dict[str, Tensor]:
    """Return boxes, scores and, of poses, key points of every prior, in float32."""
    outputs = head_of(model).decode(model.neck(model.backbone(images)))
    names = ('boxes', 'scores', 'keypoints', 'keypoint_scores')
    return {name: value.float() for name, value in zip(names, outputs)}


def relative(value: Tensor, reference: Tensor) -> float:
    """Return the norm of the difference over that of the reference, in double precision.

    NaN and infinity give infinity: they pass no tolerance.
    """
    value, reference = value.detach().double().cpu(), reference.detach().double().cpu()
    if not torch.isfinite(value).all():
        return float('inf')
    return float((value - reference).norm() / reference.norm().clamp(min=1e-12))


def synchronise(device: str) -> None:
    """Wait until the device is done."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def milliseconds(function: Callable[[], Any], device: str, repeats: int,
                 warmup: int = 3) -> List[float]:
    """Return the time of each call, by the device's own events on a GPU."""
    import time
    for _ in range(warmup):
        function()
    synchronise(device)
    if not device.startswith('cuda'):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - start))
        return times
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
              for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        function()
        end.record()
    synchronise(device)
    return [begin.elapsed_time(end) for begin, end in events]
