"""Stage 6: operator tables of the GPU, and the training of a supernet at a useful size."""
import importlib
from typing import Any, Callable, Dict, List

import numpy as np
import torch

from benchmarks.common import ROOT
from benchmarks.gpu.items import Item, Settings, Skip
from benchmarks.gpu.trainings import (
    drawn_images,
    first_and_last_loss,
    read_json,
    run_benchmark,
    step_seconds,
)

#: Where the supernet's training is; versions of this project before it have none.
SUPERNET = 'mmyolonas.search.accuracy.supernet_training'


def items(settings: Settings) -> List[Item]:
    """Return the items."""
    return [Item('operators/torch', 120), Item('operators/tensorrt', 240), Item('supernet', 300)]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    if key == 'supernet':
        return train_supernet(settings)
    return _operators_torch(settings) if key.endswith('torch') else _operators_tensorrt(settings)


def train_supernet(settings: Settings) -> Dict[str, Any]:
    """Train the network that holds all architectures on drawn images; return what it costs.

    Raises:
        Skip: This version of the project has none.
    """
    try:
        training = importlib.import_module(SUPERNET)
    except ModuleNotFoundError as error:
        if error.name is None or not SUPERNET.startswith(error.name):
            raise
        raise Skip(f'this version has no {SUPERNET}') from error
    from mmyolonas.search.accuracy.recipe import Recipe
    from mmyolonas.search.space.space import Space
    side, images, epochs = (64, 8, 1) if settings.rehearse else (320, 4000, 4)
    data = drawn_images(settings, images, 8)
    work = settings.folder('supernet') / f'{side}_{images}_{epochs}'
    recipe = Recipe(str(ROOT / 'configs' / 'search' / 'yolonas_sample_short.py'), {
        **{f'{part}_dataloader.dataset.data_root': f'{data}/' for part in ('train', 'val', 'test')},
        **{f'{part}_evaluator.ann_file': f'{data}/annotations/instances_val.json'
           for part in ('val', 'test')},
        'train_dataloader.batch_size': 4 if settings.rehearse else 32,
        'train_dataloader.num_workers': settings.workers,
        'train_dataloader.persistent_workers': settings.workers > 0,
        'train_cfg.max_epochs': epochs, 'param_scheduler.1.end': epochs,
        'param_scheduler.1.T_max': epochs})
    checkpoint = training.train_supernet(recipe, Space('detection', [side]), work)
    peak = torch.cuda.max_memory_allocated() / 2**20 if settings.on_gpu else None
    return dict(size=side, images=images, epochs=epochs, step_seconds=step_seconds(work),
                losses=first_and_last_loss(work), peak_mib=peak,
                checkpoint_mib=checkpoint.stat().st_size / 2**20)


def _operators_tensorrt(settings: Settings) -> Dict[str, Any]:
    """Return how well a table of TensorRT's operators predicts whole networks."""
    from mmyolonas.search.latency.operator_timing import check_target
    from mmyolonas.utils.errors import UserError
    reasons = []
    for target in ('tensorrt', 'tensorrt_rtx'):
        try:
            check_target(target, ('fp16', 'int8'))
            break
        except UserError as error:
            reasons.append(str(error))
    else:
        raise Skip('; '.join(reasons))
    work = settings.folder('operators')
    run_benchmark('operator_latency.py', [
        '--target', target, '--size', str(settings.size), '--fit', '12', '--test', '12',
        '--out', str(work)], work.parent / 'operators.log')
    found = read_json(work / f'{target}.result.json')
    kept = ('spearman', 'kendall', 'error', 'worst')
    tables = {precision: {name: {key: rows[name][key] for key in kept}
                          for name in ('operators', 'multiplications')}
              for precision, rows in found.items()}
    return dict(flavour=target, **tables)


def _operators_torch(settings: Settings) -> Dict[str, Any]:
    """Predict the time of random networks in PyTorch from that of their convolutions.

    The baseline that TensorRT's table has to beat, and all there is without TensorRT: every
    distinct convolution is timed alone in 16 bit, the sum is compared with the whole network's
    time by rank.
    """
    from scipy.stats import spearmanr

    from mmyolonas.search.latency.operators import operators
    from mmyolonas.search.space.architecture import build
    from mmyolonas.search.space.space import Space
    size = settings.size
    space = Space('detection', [size])
    rng = np.random.default_rng(0)
    count = 3 if settings.rehearse else 20
    networks = [build(space.sample(rng)) for _ in range(count)]
    lists = [operators(model, size) for model in networks]
    table: Dict[Any, float] = {}
    for op in {op for found in lists for op in found if op.kind == 'conv'}:
        table[op] = _time_conv(op, settings)
    measured = [_time_network(model, settings) for model in networks]
    predicted = [sum(table.get(op, 0.) for op in found) for found in lists]
    macs = [float(sum(op.macs for op in found)) for found in lists]
    return dict(networks=count, operators=len(table), fastest_ms=min(measured),
                slowest_ms=max(measured), spearman=float(spearmanr(predicted, measured)[0]),
                spearman_of_multiplications=float(spearmanr(macs, measured)[0]),
                measured_ms=measured, predicted_ms=predicted)


def _dtype(settings: Settings) -> torch.dtype:
    return torch.float16 if settings.on_gpu else torch.float32


@torch.no_grad()
def _time_conv(op: Any, settings: Settings) -> float:
    """Return the milliseconds of a convolution with its activation."""
    layer = torch.nn.Sequential(
        torch.nn.Conv2d(op.in_channels, op.out_channels, op.kernel, op.stride, op.kernel // 2,
                        groups=op.groups), torch.nn.ReLU(inplace=True))
    layer = layer.to(settings.device, _dtype(settings), memory_format=torch.channels_last)
    shape = (1, op.in_channels, op.height * op.stride, op.width * op.stride)
    image = torch.rand(shape, device=settings.device, dtype=_dtype(settings))
    image = image.contiguous(memory_format=torch.channels_last)
    return _time(lambda: layer(image), settings, 10)


@torch.no_grad()
def _time_network(model: torch.nn.Module, settings: Settings) -> float:
    """Return the milliseconds of a fused network."""
    from benchmarks.gpu.models import head_of
    from mmyolonas.export.fusion import prepare_model
    model = prepare_model(model.eval()).to(settings.device, _dtype(settings),
                                           memory_format=torch.channels_last)
    image = torch.rand(1, 3, settings.size, settings.size, device=settings.device,
                       dtype=_dtype(settings)).contiguous(memory_format=torch.channels_last)

    def call() -> Any:
        return head_of(model)._forward_logits(model.neck(model.backbone(image)))

    return _time(call, settings, 1)


def _time(call: Callable[[], Any], settings: Settings, copies: int) -> float:
    """Return the median milliseconds of a call, on a GPU without the time of launching it.

    A small convolution takes less than its launch: on a GPU some copies are recorded and replayed
    as one graph.
    """
    from benchmarks.gpu.models import milliseconds
    if not settings.on_gpu:
        return float(np.median(milliseconds(call, 'cpu', 1 if settings.rehearse else 20, 1)))
    stream = torch.cuda.Stream()  # a capture begins on a stream that has run the call before
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(copies):
            call()
    return float(np.median(milliseconds(graph.replay, settings.device, 30, 3))) / copies
