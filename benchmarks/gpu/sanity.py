"""Stage 1: the device computes what the CPU and the reference numbers say."""
from typing import Any, Dict, List

import torch
from torch import nn

from benchmarks.gpu.items import Item, Settings
from benchmarks.gpu.models import (
    DTYPES,
    MODELS,
    autocast,
    build,
    decoded,
    head_of,
    loss_of,
    make_batch,
    relative,
)
from benchmarks.gpu.sanity_training import CHECKS
from benchmarks.gpu.verdict import verdict

#: Largest relative error (norm of the difference) of outputs, losses and gradients. The loss's own
#: gradient is judged in fp32 alone: in half precision the assigner may choose other priors, which
#: moves it by whole terms. There it is that of a fixed linear form of the logits.
TOLERANCES = dict(fp32=dict(outputs=1e-4, loss=1e-3, gradients=1e-2, linear=1e-3),
                  fp16=dict(outputs=2e-2, loss=5e-2, linear=1e-1),
                  bf16=dict(outputs=1e-1, loss=1e-1, linear=3e-1))


def items(settings: Settings) -> List[Item]:
    """Return one item for each model, the fixtures, and what a training needs."""
    models = ('s', 'pose_n') if settings.quick else MODELS
    return [Item('fixtures', 30), *(Item(f'model/{name}', 25) for name in models),
            *(Item(name, seconds) for name, (_, seconds) in CHECKS.items()
              if not (settings.quick and name == 'resume'))]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    exact = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # what is fastest is not asked here
    try:
        if key.startswith('model/'):
            return check_model(key[6:], settings)
        if key == 'fixtures':
            from benchmarks.gpu.fixtures import check_fixtures
            return check_fixtures(settings.device)
        return CHECKS[key][0](settings)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = exact


def check_model(name: str, settings: Settings) -> Dict[str, Any]:
    """Compare a model on the device, in each precision, with fp32 on the CPU.

    Its weights are those that the reference numbers of the original were measured with.
    """
    from tests.reference import fill_with_reference_weights
    size = settings.size if settings.rehearse else 320
    model = fill_with_reference_weights(build(name))
    with torch.no_grad():
        expected = decoded(model, make_batch(name, size, 2, 'cpu')[0])
    reference = _training(model, name, size, 'cpu', 'fp32')
    linear = _linear_gradients(model, name, size, 'cpu', 'fp32')
    model = model.to(settings.device)
    found: Dict[str, Any] = {}
    for precision in DTYPES:
        if settings.rehearse and precision == 'fp16':
            continue  # CPUs emulate it, slowly
        found[precision] = _compare(model, name, size, settings.device, precision, expected,
                                    reference, linear)
    model.eval()
    for module in model.modules():
        if hasattr(module, 'switch_to_deploy') and module is not model:
            module.switch_to_deploy()
    for precision in found:
        error = _output_error(model, name, size, settings.device, precision, expected)
        found[precision]['fused'] = verdict(dict(outputs=error), TOLERANCES[precision])
    return dict(found, passed=all(f['passed'] and f['fused']['passed'] for f in found.values()),
                size=size)


def _compare(model: nn.Module, name: str, size: int, device: str, precision: str,
             expected: dict, reference: dict, linear: torch.Tensor) -> Dict[str, Any]:
    """Return the errors of one precision on the device."""
    got = _training(model, name, size, device, precision)
    errors = dict(
        outputs=_output_error(model, name, size, device, precision, expected),
        loss=abs(got['loss'] / reference['loss'] - 1),
        linear=relative(_linear_gradients(model, name, size, device, precision), linear))
    moved = relative(got['gradients'], reference['gradients'])
    if precision == 'fp32':
        return verdict(dict(errors, gradients=moved), TOLERANCES[precision])
    return dict(verdict(errors, TOLERANCES[precision]), gradients_not_judged=moved)


def _linear_gradients(model: nn.Module, name: str, size: int, device: str,
                      precision: str) -> torch.Tensor:
    """Return the gradients of a fixed linear form of the logits, with the norms frozen."""
    model.eval()
    model.zero_grad(set_to_none=True)
    images, _ = make_batch(name, size, 2, device)
    generator = torch.Generator().manual_seed(3)
    with autocast(device, precision):
        raw = head_of(model).forward_raw(model.neck(model.backbone(images)))
    maps = [x.float() for x in (*raw.cls_scores, *raw.bbox_dists)]
    total = sum((x * torch.randn(x.shape, generator=generator).to(device)).mean() for x in maps)
    total.backward()
    return _collect(model, 1.)


def _collect(model: nn.Module, scale: float) -> torch.Tensor:
    """Return all gradients in one vector on the CPU, and clear them."""
    gradients = torch.cat([p.grad.flatten().float().cpu() / scale
                           for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return gradients


def _training(model: nn.Module, name: str, size: int, device: str, precision: str) -> dict:
    """Return loss and gradients of a batch; statistics of the norms stay as they were."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    model.zero_grad(set_to_none=True)
    images, samples = make_batch(name, size, 2, device)
    with autocast(device, precision):
        loss = loss_of(model, images, samples)
    # fp16's gradients would vanish without the scale that a GradScaler begins with
    scale = 2.**12 if precision == 'fp16' else 1.
    (scale * loss).backward()
    gradients = _collect(model, scale)
    model.load_state_dict(state)
    return dict(loss=loss.item(), gradients=gradients)


@torch.no_grad()
def _output_error(model: nn.Module, name: str, size: int, device: str, precision: str,
                  expected: dict) -> float:
    images, _ = make_batch(name, size, 2, device)
    model.eval()
    with autocast(device, precision):
        got = decoded(model, images)
    return max(relative(got[part], expected[part]) for part in expected)
