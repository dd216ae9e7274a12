"""Stage 1, the part with training: mixed precision, distillation, EMA, resuming."""
import os
import shutil
from typing import Any, Callable, Dict, Tuple

import torch

from benchmarks.gpu.items import Settings
from benchmarks.gpu.models import build, make_batch, relative
from benchmarks.gpu.trainings import drawn_images, train

#: Environment under which cuBLAS gives the same sums in every run.
_CUBLAS = 'CUBLAS_WORKSPACE_CONFIG'


def amp(settings: Settings) -> Dict[str, Any]:
    """Learn one batch by heart in mixed precision with a GradScaler."""
    model = build('s').to(settings.device)
    return _learn(model, settings, lambda losses: losses)


def distillation(settings: Settings) -> Dict[str, Any]:
    """The same with a teacher's terms, under mixed precision too."""
    from mmyolonas.engine.distillation import (
        DistillationTerms,
        StudentTap,
        Teacher,
        TermSettings,
    )
    student = build('s').to(settings.device)
    teacher = Teacher(build('s' if settings.quick else 'm').to(settings.device), student)
    head = student.bbox_head
    tap = StudentTap(student, head, teacher,
                     DistillationTerms(head, TermSettings(weights=dict(cls=1.0, dfl=1.0))))
    names = set()
    try:
        found = _learn(student, settings, lambda losses: names.update(losses) or losses)
    finally:
        tap.remove()
    terms = sorted(name for name in names if 'kd' in name)
    return dict(found, terms=len(terms), passed=found['passed'] and len(terms) >= 2)


def _learn(model, settings: Settings, look: Callable[[dict], dict]) -> Dict[str, Any]:
    """Train on one batch by mmengine's wrapper; the loss must fall and the weights be finite."""
    from mmengine.optim import AmpOptimWrapper, OptimWrapper
    images, samples = make_batch('s', settings.size, 2 if settings.rehearse else 8,
                                 settings.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    wrapper = AmpOptimWrapper(optimizer=optimizer) if settings.on_gpu else OptimWrapper(optimizer)
    losses, skipped = [], 0
    model.train()
    for _ in range(4 if settings.rehearse else 60):
        with wrapper.optim_context(model):
            terms = look(model(images, samples, mode='loss'))
            total = model.parse_losses(terms)[0]
        before = wrapper.loss_scaler.get_scale() if settings.on_gpu else 1.
        wrapper.update_params(total)
        skipped += settings.on_gpu and wrapper.loss_scaler.get_scale() < before
        losses.append(total.item())
    finite = all(torch.isfinite(p).all() for p in model.parameters())
    tail = sum(losses[-3:]) / 3
    return dict(first=losses[0], last=tail, steps=len(losses), skipped=int(skipped),
                scale=wrapper.loss_scaler.get_scale() if settings.on_gpu else None,
                # a rehearsal's few steps need not get anywhere
                passed=bool(finite and (settings.rehearse or tail < losses[0])))


def ema(settings: Settings) -> Dict[str, Any]:
    """The average on the device is the one that the formula gives in double precision."""
    from mmyolonas.engine.scheduled_ema import ScheduledEMA
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.BatchNorm2d(64))
    model.to(settings.device)
    average = ScheduledEMA(model, decay=0.99)
    average.copy_from(model)
    expected = {key: value.double().cpu() for key, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 51):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(
                    parameter.shape, generator=generator).to(parameter))
        average.update_parameters(model)
        decay = min(0.99, (1 + step) / (10 + step))  # reference.md 11.3
        for key, value in model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value.double().cpu()
    error = max(relative(value, expected[key])
                for key, value in average.module.state_dict().items()
                if value.is_floating_point())
    return dict(error=error, passed=error < 1e-5)


def resume(settings: Settings) -> Dict[str, Any]:
    """A training gone on in another process ends with the same bits."""
    data = drawn_images(settings, 24 if settings.rehearse else 200, 8)
    before = os.environ.get(_CUBLAS)
    os.environ[_CUBLAS] = ':4096:8'
    work = settings.folder('resume')
    shutil.rmtree(work)
    options = ['randomness.seed=7', 'randomness.deterministic=True', 'train_cfg.val_interval=10',
               'default_hooks.checkpoint.max_keep_ckpts=3']
    try:
        for name, start in (('whole', None), ('resumed', work / 'whole' / 'epoch_1.pth')):
            train('sample', work / name, settings, data, 2, options, resume=start)
    finally:
        os.environ.pop(_CUBLAS) if before is None else os.environ.update({_CUBLAS: before})
    states = [torch.load(work / name / 'epoch_2.pth', map_location='cpu', weights_only=False)
              for name in ('whole', 'resumed')]  # files that this program has just written
    differing = [key for part in ('state_dict', 'ema_state_dict')
                 for key, value in states[0][part].items()
                 if not torch.equal(value, states[1][part][key])]
    shutil.rmtree(work)
    return dict(tensors=len(states[0]['state_dict']) + len(states[0]['ema_state_dict']),
                differing=len(differing), first=differing[:1], passed=not differing)


CHECKS: Dict[str, Tuple[Callable[[Settings], Dict[str, Any]], float]] = dict(
    amp=(amp, 20), distillation=(distillation, 25), ema=(ema, 5), resume=(resume, 90))
