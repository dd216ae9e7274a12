"""Where the time of a training step goes."""
import statistics
import time
import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Tuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.items import Settings
from benchmarks.gpu.models import (
    autocast,
    build,
    head_of,
    load,
    make_batch,
    milliseconds,
    synchronise,
)

BATCH = 32


class Marks:
    """Times between marks on the device: its own events on a GPU, the clock elsewhere.

    The profiler does not do for that: the backward pass's kernels are launched by another thread
    and are no part of what surrounds the call.

    Args:
        device (str): Where the work is done.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith('cuda')
        self._spans: Dict[str, List[Tuple[Any, Any]]] = {}

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time a block under a name."""
        begin = self._now()
        yield
        self._spans.setdefault(name, []).append((begin, self._now()))

    def medians(self) -> Dict[str, float]:
        """Return the median milliseconds of each name, and forget them."""
        if self._on_gpu:
            torch.cuda.synchronize()
        found = {name: statistics.median(
            begin.elapsed_time(end) if self._on_gpu else 1e3 * (end - begin)
            for begin, end in spans) for name, spans in self._spans.items()}
        self._spans.clear()
        return found


def profile_step(name: str, settings: Settings) -> Dict[str, Any]:
    """Return milliseconds of the parts of a step, its longest kernels, and how often it waits.

    ``forward`` has the losses in it and those the assignment (``assign``). Of the forward parts,
    each alone, ``network`` is backbone and neck, ``head`` its convolutions, ``loss with head``
    these and everything behind them.
    """
    batch = 2 if settings.rehearse else BATCH
    precision = 'fp16' if settings.on_gpu else 'fp32'
    model = build(name).to(settings.device).train()
    images, samples = make_batch(name, settings.size, batch, settings.device)
    optimizer = recipe_optimizer(name, model)
    with autocast(settings.device, precision):
        alone = _forward_parts(model, images, samples, settings)
    marks = Marks(settings.device)
    _wrap(model, marks)

    def step() -> None:
        optimizer.zero_grad()
        with marks.span('step'):
            with marks.span('forward'), autocast(settings.device, precision):
                loss = model.parse_losses(model.loss(images, samples))[0]
            with marks.span('backward'):
                loss.backward()
            with marks.span('optimiser'):
                optimizer.step()

    for _ in range(1 if settings.rehearse else 5):
        step()
    marks.medians()
    for _ in range(1 if settings.rehearse else 10):
        step()
    parts = marks.medians()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if settings.on_gpu else [])
    with profile(activities=activities) as record:
        step()
        synchronise(settings.device)
    return dict(batch=batch, precision=precision, parts_ms=parts, forward_alone_ms=alone,
                **_read(record, settings), waits=_count_waits(step, settings))


def recipe_optimizer(name: str, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of a model's recipe, with its groups."""
    from mmengine.optim import build_optim_wrapper
    cfg = load(name).optim_wrapper
    cfg.type = 'OptimWrapper'
    return build_optim_wrapper(model, cfg).optimizer


def _forward_parts(model: Any, images: torch.Tensor, samples: list,
                   settings: Settings) -> Dict[str, float]:
    """Return the milliseconds of the forward parts, each alone."""
    head = head_of(model)
    repeats, warmup = (1, 1) if settings.rehearse else (10, 3)

    def middle(function: Any) -> float:
        times = sorted(milliseconds(function, settings.device, repeats, warmup))
        return times[len(times) // 2]

    with torch.no_grad():
        feats = model.extract_feat(images)
        found = dict(network=middle(lambda: model.extract_feat(images)),
                     head=middle(lambda: head._forward_logits(feats)))
        found['loss with head'] = middle(lambda: head.loss(feats, samples))
    return found


def _wrap(model: Any, marks: Marks) -> None:
    """Time the assignment."""
    assigner = head_of(model).assigner
    assign = assigner.assign

    def timed(*args: Any, **kwargs: Any) -> Any:
        with marks.span('assign'):
            return assign(*args, **kwargs)

    assigner.assign = timed


def _read(record: profile, settings: Settings) -> Dict[str, Any]:
    """Return what took longest on the device, and how many operators there were.

    On a GPU an operator's own device time is that of the kernels it launched, which are events of
    their own as well: the two are told apart, or each would count twice.
    """
    def own(event: Any) -> float:
        return event.self_device_time_total if settings.on_gpu else event.self_cpu_time_total

    def longest(events: List[Any]) -> List[Dict[str, Any]]:
        total = sum(own(event) for event in events) or 1.
        return [dict(name=event.key[:80], share=own(event) / total, calls=event.count)
                for event in sorted(events, key=own, reverse=True)[:12]]

    events = [event for event in record.key_averages()
              if not getattr(event, 'is_user_annotation', False)]
    kernels = [event for event in events if event.device_type != DeviceType.CPU]
    operators = [event for event in events if event.device_type == DeviceType.CPU]
    found: Dict[str, Any] = dict(
        operator_calls=sum(e.count for e in operators if e.key.startswith('aten::')),
        kernel_calls=sum(event.count for event in kernels), operators=longest(operators))
    return dict(found, kernels=longest(kernels)) if kernels else found


def _count_waits(step: Any, settings: Settings) -> Dict[str, Any]:
    """Return how often the processor waits for the GPU in a step, and where."""
    if not settings.on_gpu:
        return {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    places: List[str] = [f'{w.filename.rsplit("/", 1)[-1]}:{w.lineno}' for w in caught
                         if 'synchroniz' in str(w.message)]
    return dict(count=len(places), places={place: places.count(place) for place in set(places)})
