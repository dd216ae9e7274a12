"""Several processes of one fine-tuning: one looks and judges, all train."""
import os
from contextlib import contextmanager
from datetime import timedelta
from typing import Callable, Iterator

_TRAIN, _END = 'train', 'end'
_PATIENCE = timedelta(days=7)  # in which a process may look at data while the others wait


class Crew:
    """The processes that a launcher has started, connected.

    The first one does the work; the others wait in :meth:`follow` until it calls
    :meth:`training`, and train with it. They wait in a group of their own (gloo): one of NCCL
    would give up after ten minutes, and look at the GPU all the while.

    Args:
        launcher (str): 'none', 'pytorch' or 'slurm'.
    """

    def __init__(self, launcher: str) -> None:
        from mmengine.dist import get_rank, get_world_size, init_dist, is_distributed
        self.launcher = launcher
        self._group, self._busy = None, False
        if launcher != 'none':
            from mmyolonas.compat.processes import init_processes_on_cpu
            from mmyolonas.engine.optimizers.auto_amp_optim_wrapper import has_accelerator
            if not has_accelerator():
                init_processes_on_cpu(launcher)
            elif not is_distributed():
                init_dist(launcher, backend='nccl')
            import torch.distributed as dist
            self._group = dist.new_group(backend='gloo', timeout=_PATIENCE)
        self.rank, self.size = get_rank(), get_world_size()

    @property
    def leads(self) -> bool:
        """bool: Whether this is the process that looks, judges and writes."""
        return self.rank == 0

    def _tell(self, word: str = '') -> str:
        if self._group is None:
            return word
        import torch.distributed as dist
        words = [word]
        dist.broadcast_object_list(words, src=0, group=self._group)
        return words[0]

    @contextmanager
    def lead(self) -> Iterator[None]:
        """Send the others home when the block ends, however it ends.

        But not if it ends within a training: they would not hear it, and the launcher
        ends them as soon as this process is gone.
        """
        try:
            yield
        finally:
            if not self._busy:
                self._tell(_END)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let the others train at the same time."""
        if self.leads:
            self._tell(_TRAIN)
        self._busy = True
        yield
        self._busy = False

    def follow(self, train: Callable[[], object]) -> None:
        """Train whenever the first process does, until it has ended."""
        while self._tell() == _TRAIN:
            train()


def check_launcher(launcher: str) -> None:
    """Look whether a launcher has started this process.

    Raises:
        UserError: Nothing says so.
    """
    from mmyolonas.utils.errors import UserError
    wanted = dict(pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), slurm=('SLURM_PROCID', ))
    missing = [name for name in wanted.get(launcher, ()) if name not in os.environ]
    if missing:
        how = dict(pytorch='torchrun --nproc_per_node GPUS', slurm='srun python')[launcher]
        raise UserError(f'--launcher {launcher}: {", ".join(missing)} is not set, so nothing has '
                        f'started several processes; start it with "{how} tools/finetune.py ...".')
