"""Makes the randomness of an epoch depend on the seed and the epoch alone."""
import random
from typing import Callable, Iterator, List, Optional

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mmyolonas.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Reseed all generators at the start of each epoch, so that resuming is exact.

    mmengine resumes at the end of the last saved epoch with the right weights,
    optimizer and schedules, but with other random numbers: those of a fresh
    process. It also gives data workers the same numbers in every epoch unless
    they are persistent. With this hook the numbers depend on
    ``(seed, epoch, rank, worker)``: a training that was killed and resumed
    sees the same augmented images, and on the same hardware and number of
    workers ends with the same weights, as one that ran through.

    What it does at the start of an epoch, in the main process and in each
    worker (persistent or not):

    * seeds ``random``, ``numpy`` and ``torch``;
    * empties the caches of cached transforms (``results_cache``), because their
      content stems from earlier epochs. They refill with the first images.

    When training is resumed without an explicit seed, the checkpoint's seed is
    taken. Epoch-based training only: an iteration-based one reads its data from
    the start again, which mmengine does by itself.

    When a run has ended, persistent workers end too: left to the garbage collection they would
    miss the word to stop, and whatever the process does next waits five seconds for each.

    On a GPU, ask for ``randomness=dict(seed=..., deterministic=True)`` as well.
    """

    # after hooks that exchange the pipeline or the loader
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take over the checkpoint's seed when resuming without an own one."""
        seed = checkpoint.get('meta', {}).get('seed')
        if not runner._resume or seed is None or seed == runner.seed:
            return
        if runner._randomness_cfg.get('seed') is not None:
            runner.logger.warning(
                f"the configured seed {runner.seed} differs from the checkpoint's, {seed}: the "
                'resumed training will not be the one that was interrupted.')
            return
        runner._seed = seed
        sampler = _sampler(runner.train_dataloader)
        if hasattr(sampler, 'seed'):
            sampler.seed = seed
        runner.logger.info(f"resuming with the checkpoint's seed {seed}")

    def before_train_epoch(self, runner) -> None:
        """Seed the main process and tell the workers about the epoch."""
        loader = runner.train_dataloader
        self._epoch.fill_(runner.epoch)
        if loader.num_workers > 0:
            if not isinstance(loader.worker_init_fn, WorkerSeeder):
                loader.worker_init_fn = WorkerSeeder(
                    loader.worker_init_fn, self._epoch, runner.seed, get_rank())
        else:
            clear_caches(loader.dataset)
        seed_everything(runner.seed, runner.epoch, get_rank())

    def after_run(self, runner) -> None:
        """End persistent workers, of whichever loader has some."""
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            loader = getattr(loop, 'dataloader', None)
            if isinstance(loader, DataLoader):
                loader._iterator = None


class WorkerSeeder:
    """Initialises a data worker so that it reseeds at its first batch of an epoch.

    Args:
        then (Callable, optional): The worker initialisation to call first.
        epoch (Tensor): Number of the epoch, in shared memory.
        seed (int): Seed of the training.
        rank (int): Rank of the process that owns the worker.
    """

    def __init__(self, then: Optional[Callable[[int], None]], epoch: torch.Tensor, seed: int,
                 rank: int) -> None:
        self.then = then
        self.epoch = epoch
        self.seed = seed
        self.rank = rank

    def __call__(self, worker_id: int) -> None:
        """Run in the worker, once, before it reads anything."""
        if self.then is not None:
            self.then(worker_id)
        dataset = get_worker_info().dataset
        fetch = getattr(dataset, '__getitems__', None) or (
            lambda indices: [dataset[index] for index in indices])
        current = -1

        def fetch_of_epoch(indices: List[int]) -> list:
            nonlocal current
            epoch = int(self.epoch)
            if epoch != current:
                current = epoch
                clear_caches(dataset)
                seed_everything(self.seed, epoch, self.rank, worker_id)
            return fetch(indices)

        # PyTorch's fetcher prefers this over __getitem__; the object is this worker's own
        dataset.__getitems__ = fetch_of_epoch


def seed_everything(*numbers: int) -> None:
    """Seed ``random``, ``numpy`` and ``torch`` from any number of integers >= 0."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def clear_caches(dataset: Dataset) -> None:
    """Empty the caches of the cached transforms of a dataset, however wrapped."""
    for transform in _transforms(dataset):
        if isinstance(getattr(transform, 'results_cache', None), list):
            transform.results_cache = []


def _transforms(root: Dataset) -> Iterator[object]:
    """Yield all transforms below datasets, wrappers, pipelines and transforms."""
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if isinstance(node, (list, tuple)):
            stack.extend(node)
            continue
        if node is None or isinstance(node, (str, dict)) or id(node) in seen:
            continue
        seen.add(id(node))
        if not isinstance(node, Dataset):
            yield node
        names = ('dataset', 'datasets', 'pipeline', 'transforms')
        stack.extend(getattr(node, name, None) for name in names)


def _sampler(loader: DataLoader):
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)
