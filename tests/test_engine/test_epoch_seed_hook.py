"""Resuming is exact: the same weights as in a training that ran through."""
import multiprocessing
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmyolonas.engine.hooks.epoch_seed_hook import WorkerSeeder, clear_caches, seed_everything
from tests import tiny


class Interrupt(Hook):
    """Ends the process, so to speak, in the middle of an epoch."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, **kwargs) -> None:
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


def train(tmp_path, name: str, workers: int = 0, persistent: bool = False, seed=0,
          interrupt=None, resume: bool = False) -> dict:
    """Train for three epochs; return the final weights."""
    work = tmp_path / name
    cfg = Config(tiny.config(tmp_path / 'data', work, epochs=3, workers=workers))
    cfg.experiment_name = f'{name}-{resume}'
    cfg.train_dataloader.persistent_workers = persistent
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.randomness = dict(seed=seed)
    cfg.resume = resume
    runner = Runner.from_cfg(cfg)
    if interrupt is not None:
        runner.register_hook(Interrupt(interrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        runner.call_hook('after_run')  # or the next training waits for the workers of this one
        return {}
    runner.train()
    assert not multiprocessing.active_children()
    return torch.load(work / 'epoch_3.pth')


@pytest.mark.parametrize('workers, persistent, seed', [(2, True, 0), (0, False, None)])
@pytest.mark.long
def test_resumed_training_equals_uninterrupted(tmp_path, workers, persistent, seed):
    tiny.write_data(tmp_path / 'data')
    options = dict(workers=workers, persistent=persistent)
    train(tmp_path, 'broken', interrupt=7, seed=seed, **options)
    actual = train(tmp_path, 'broken', resume=True, seed=seed, **options)
    # without a seed of its own, the resumed training takes over the first one's
    whole = train(tmp_path, 'whole', seed=actual['meta']['seed'], **options)
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in whole[part].items():
            torch.testing.assert_close(actual[part][key], value, rtol=0, atol=0, msg=key)
    for ours, theirs in zip(actual['optimizer']['state'].values(),
                            whole['optimizer']['state'].values()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


class Noise(Dataset):
    """Yields random numbers from the three generators."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple:
        return index, random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_reseed_each_epoch(persistent):
    def epochs(numbers):
        epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        loader = DataLoader(Noise(), batch_size=1, num_workers=2, persistent_workers=persistent,
                            worker_init_fn=WorkerSeeder(None, epoch, seed=3, rank=0))
        result = []
        for number in numbers:
            epoch.fill_(number)
            result.append([tuple(float(v) for v in batch) for batch in loader])
        return result

    whole, resumed = epochs([0, 1, 2]), epochs([2])
    assert whole[2] == resumed[0]
    assert whole[0] != whole[1] != whole[2]
    assert len({row[1:] for row in whole[0]}) == 4  # workers and samples differ


def test_seeds_and_caches():
    seed_everything(1, 2, 3)
    first = random.random(), np.random.rand(), torch.rand(1).item()
    seed_everything(1, 2, 4)
    assert first != (random.random(), np.random.rand(), torch.rand(1).item())

    class Cached:
        results_cache = [1]

    class Pipeline:
        def __init__(self, *transforms):
            self.transforms = list(transforms)

    dataset, wrapper = Noise(), Noise()
    caches = Cached(), Cached()
    dataset.pipeline = Pipeline(caches[0], Pipeline(caches[1]))
    wrapper.datasets = [dataset]
    caches[0].dataset = wrapper  # some transforms know their data set
    clear_caches(wrapper)
    assert [cache.results_cache for cache in caches] == [[], []]
