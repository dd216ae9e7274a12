"""Saves checkpoints so that a failed save costs nothing."""
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Union

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop

from mmyolonas.registry import HOOKS
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_bytes, write_text

BACKEND = 'mmyolonas_atomic'
_VALIDATED = 'last_validation'


class AtomicBackend(LocalBackend):
    """Local files, written atomically and removed when asked to :meth:`flush`."""

    def __init__(self) -> None:
        super().__init__()
        self._outdated: List[str] = []

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes: the file is the old one or the new one, never a part."""
        write_bytes(filepath, obj)

    def remove(self, filepath: Union[str, Path]) -> None:
        """Note a file for removal."""
        self._outdated.append(str(filepath))

    def rmtree(self, dir_path: Union[str, Path]) -> None:
        """Note a folder for removal."""
        self._outdated.append(str(dir_path))

    def flush(self, keep: str = '') -> None:
        """Remove what was noted, except ``keep``."""
        for path in self._outdated:
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif path != keep and os.path.isfile(path):
                os.remove(path)
        self._outdated.clear()


register_backend(BACKEND, AtomicBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, safe against full disks and killed processes.

    mmengine removes outdated checkpoints *before* it writes the new one, writes
    in place, and truncates ``last_checkpoint`` first. Here a checkpoint is
    written beside its place and renamed, then the pointer is replaced, and only
    then are outdated ones removed. If a save fails, training stops with a
    message; the last good checkpoint and its pointer are as they were.

    mmengine saves before it validates, and does not validate again when such a
    checkpoint is resumed, so a process killed in its last validation would have no
    result. Here ``last_validation`` in the work folder notes what was validated, and a
    resumed training first makes up what is missing.

    The arguments are those of :class:`mmengine.hooks.CheckpointHook`. Remote
    backends behave as in mmengine.
    """

    def before_train(self, runner) -> None:
        """Choose the atomic backend for local folders and clear leftovers."""
        if self.file_client_args is None and self.backend_args is None and isinstance(
                get_file_backend(self.out_dir or runner.work_dir), LocalBackend):
            self.backend_args = dict(backend=BACKEND)
        super().before_train(runner)
        if isinstance(self.file_backend, AtomicBackend) and is_main_process():
            # left by a process that was killed while it saved
            for part in Path(self.out_dir).glob('.*.part.pth'):
                part.unlink()
            self.file_backend.flush()
        self._make_up_validation(runner)

    def after_val_epoch(self, runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """Save the best checkpoint, then note that its epoch or iteration is validated."""
        # a train loop that was not built yet is still a dict: there is no training
        if not isinstance(runner._train_loop, BaseLoop):
            return
        super().after_val_epoch(runner, metrics or {})
        if is_main_process():
            with self._explained(runner, 'the note of the last validation'):
                write_text(Path(runner.work_dir) / _VALIDATED, f'{runner.iter}\n')

    @staticmethod
    def _make_up_validation(runner) -> None:
        """Validate a resumed checkpoint if its process was killed before it could."""
        note = Path(runner.work_dir) / _VALIDATED
        validated = [0]
        if is_main_process():
            if not runner.iter:
                note.unlink(missing_ok=True)  # of an earlier training
            elif note.is_file():
                with suppress(ValueError):  # damaged: validated once too often
                    validated = [int(note.read_bytes())]
        broadcast_object_list(validated)
        loop = runner.train_loop
        # later than the checkpoint: that is saved less often than there are validations
        if not runner.iter or runner.val_loop is None or validated[0] >= runner.iter:
            return
        loop._decide_current_val_interval()
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if done >= loop.val_begin and (done % loop.val_interval == 0 or done == end):
            runner.logger.info('the resumed checkpoint was not validated: validating it first')
            runner.val_loop.run()

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        if not isinstance(self.file_backend, AtomicBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        name = self.filename_tmpl.format(step)
        outdated = self._note_step(runner, step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with self._explained(runner, self.last_ckpt):
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args)
            if not is_main_process():
                return
            write_text(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
        for path in outdated:
            self.file_backend.remove(path)
        self.file_backend.flush(keep=self.last_ckpt)

    def _note_step(self, runner, step: int) -> List[str]:
        """Note the step among those to keep; return the paths to drop."""
        if self.max_keep_ckpts <= 0:
            return []
        outdated = []
        if not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step:
            while len(self.keep_ckpt_ids) >= self.max_keep_ckpts:
                old = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                outdated.append(self.file_backend.join_path(self.out_dir, old))
            self.keep_ckpt_ids.append(step)
            # saved with the checkpoint, so that a resumed run cleans up after this one
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return outdated

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not isinstance(self.file_backend, AtomicBackend):
            super()._save_best_checkpoint(runner, metrics)
            return
        # removals are noted by the backend and done after the save
        with self._explained(runner, 'the best checkpoint'):
            super()._save_best_checkpoint(runner, metrics)
        best = getattr(self, 'best_ckpt_path', None)
        self.file_backend.flush(keep=str(best))

    @contextmanager
    def _explained(self, runner, what: str) -> Iterator[None]:
        """Turn an error of the file system into a sentence."""
        try:
            yield
        except OSError as error:
            free = shutil.disk_usage(self.out_dir).free / 1e6
            raise UserError(
                f'cannot save {what}: {error.strerror or error} ({free:.0f} MB free in '
                f'{self.out_dir}). Training stopped; {_last_good(runner.work_dir)}') from error


def _last_good(work_dir: str) -> str:
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return 'there is no earlier checkpoint.'
    return (f'the last good checkpoint is {pointer.read_text().strip()}. Make room and continue '
            'with --resume.')
