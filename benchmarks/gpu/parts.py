"""Where the time of a training step goes."""
import warnings
from typing import Any, Dict, List

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.gpu.items import Settings
from benchmarks.gpu.models import autocast, build, head_of, make_batch, milliseconds

BATCH = 32


def profile_step(name: str, settings: Settings) -> Dict[str, Any]:
    """Return milliseconds of the parts of a step, its longest kernels, and how often it waits.

    ``network`` is backbone and neck; ``head`` its convolutions; ``assign`` the assignment;
    ``loss`` everything else behind the logits.
    """
    batch = 2 if settings.rehearse else BATCH
    precision = 'fp16' if settings.on_gpu else 'fp32'
    model = build(name).to(settings.device).train()
    images, samples = make_batch(name, settings.size, batch, settings.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    with autocast(settings.device, precision):
        parts = _forward_parts(model, images, samples, settings)
    _wrap(model)

    def step() -> None:
        optimizer.zero_grad()
        with record_function('part: forward'), autocast(settings.device, precision):
            loss = model.parse_losses(model.loss(images, samples))[0]
        with record_function('part: backward'):
            loss.backward()
        with record_function('part: optimiser'):
            optimizer.step()

    whole = milliseconds(step, settings.device, 1 if settings.rehearse else 10,
                         1 if settings.rehearse else 5)
    parts['step'] = sorted(whole)[len(whole) // 2]
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if settings.on_gpu else [])
    with profile(activities=activities) as record:
        step()
        if settings.on_gpu:
            torch.cuda.synchronize()
    return dict(batch=batch, precision=precision, parts_ms=parts, **_read(record, settings),
                waits=_count_waits(step, settings))


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


def _wrap(model: Any) -> None:
    """Name the assignment in the profile."""
    assigner = head_of(model).assigner
    assign = assigner.assign

    def named(*args: Any, **kwargs: Any) -> Any:
        with record_function('part: assign'):
            return assign(*args, **kwargs)

    assigner.assign = named


def _read(record: profile, settings: Settings) -> Dict[str, Any]:
    """Return the times of the named parts, the longest operators, and how many there are."""
    def time_of(event: Any) -> float:
        return (event.device_time_total if settings.on_gpu else event.cpu_time_total) / 1e3

    def own(event: Any) -> float:
        return (event.self_device_time_total if settings.on_gpu else event.self_cpu_time_total)

    events = record.key_averages()
    named = {event.key[6:]: dict(ms=time_of(event), host_ms=event.cpu_time_total / 1e3)
             for event in events if event.key.startswith('part: ')}
    others = [event for event in events if not event.key.startswith('part: ')]
    total = sum(own(event) for event in others) or 1.
    longest = sorted(others, key=own, reverse=True)[:15]
    calls = sum(event.count for event in others if event.key.startswith('aten::'))
    return dict(profile=named, operator_calls=calls, longest=[
        dict(name=event.key[:80], share=own(event) / total, calls=event.count)
        for event in longest])


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
