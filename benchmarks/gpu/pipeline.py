"""How much of a training step is waiting for data."""
import time
from pathlib import Path
from typing import Any, Dict

import torch

from benchmarks.gpu.items import Settings
from benchmarks.gpu.models import build, synchronise

BATCH = 32


def _config(folder: Path, batch: int, workers: int):
    """Return the published recipe's loader on a folder of COCO-format images."""
    from mmengine.config import Config

    from benchmarks.common import ROOT
    from benchmarks.data_pipeline import find_classes
    cfg = Config.fromfile(ROOT / 'configs/yolonas/yolonas_s_coco.py')
    loader = cfg.train_dataloader
    loader.update(batch_size=batch, num_workers=workers, persistent_workers=workers > 0)
    loader.dataset.update(
        data_root=str(folder), ann_file='_annotations.coco.json', data_prefix=dict(img=''),
        metainfo=dict(classes=find_classes(str(folder))))
    # the small set many times over, so that an epoch is long enough
    dataset = loader.dataset
    loader.dataset = dict(type='RepeatDataset', times=200, dataset=dataset)
    return cfg


def loading_share(name: str, settings: Settings) -> Dict[str, Any]:
    """Time the loader alone, steps on one batch, and steps on what the loader delivers."""
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    batch = 2 if settings.rehearse else BATCH
    rounds = 1 if settings.rehearse else 30
    cfg = _config(settings.data_set('bccd') / 'train', batch, settings.workers)
    model = build(name).to(settings.device).train()
    init_default_scope('mmdet')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = iter(loader)
    # every worker works ahead: what lies ready is not what it delivers
    ready = loader.prefetch_factor * max(settings.workers, 1) if settings.workers else 0
    rounds = max(rounds, 0 if settings.rehearse else 2 * ready)
    for _ in range(max(ready, 1)):
        data = next(batches)
    start = time.perf_counter()
    for _ in range(rounds):
        data = next(batches)
    alone = (time.perf_counter() - start) / rounds
    step = _stepper(model, settings)
    for _ in range(0 if settings.rehearse else 5):
        step(data)
    start = time.perf_counter()
    for _ in range(rounds):
        step(data)
    synchronise(settings.device)
    fixed = (time.perf_counter() - start) / rounds
    for _ in range(ready):  # made while the steps before were timed
        next(batches)
    waiting, start = 0., time.perf_counter()
    for _ in range(rounds):
        begin = time.perf_counter()
        data = next(batches)
        waiting += time.perf_counter() - begin
        step(data)
    synchronise(settings.device)
    both = (time.perf_counter() - start) / rounds
    return dict(batch=batch, workers=settings.workers, loader_images_a_second=batch / alone,
                images_a_second_a_worker=batch / alone / max(settings.workers, 1),
                step_images_a_second=batch / fixed, fed_images_a_second=batch / both,
                waiting_share=waiting / rounds / both,
                input=list(model.data_preprocessor(data, True)['inputs'].shape))


def _stepper(model, settings: Settings):
    """Return mmengine's training step, in mixed precision on a GPU."""
    from mmengine.optim import AmpOptimWrapper, OptimWrapper
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    wrapper = AmpOptimWrapper(optimizer=optimizer) if settings.on_gpu else OptimWrapper(optimizer)
    return lambda data: model.train_step(data, wrapper)
