"""Averages the best snapshots of a training."""
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor

from mmyolonas.registry import HOOKS
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import explain_full_disk, read_json, write_checkpoint, write_json
from mmyolonas.utils.progress import track
from mmyolonas.utils.typed import build


@dataclass
class Snapshot:
    """One of the best states of a training.

    Args:
        file: Name within the folder of the snapshots.
        epoch: Epochs done.
        iter: Iterations done.
        value: What the validation gave.
    """
    file: str
    epoch: int
    iter: int
    value: float


@HOOKS.register_module()
class SnapshotAverageHook(Hook):
    """Keep the best snapshots and write the average of their weights at the end.

    The published recipe averages the ten best snapshots of the averaged (EMA)
    model. After each validation the weights that were validated are kept in
    ``<work_dir>/snapshots`` if they are among the best, with an index. At the
    end ``<work_dir>/average_best.pth`` is written, an ordinary checkpoint with
    the list of its snapshots in ``meta['snapshots']``; ``tools/test.py``
    evaluates it. Unlike the original, which overwrites one file in place, every
    file appears complete or not at all, and a resumed training continues with
    the snapshots it had: those from after the checkpoint are made again.

    Args:
        metric (str): What is compared. Defaults to 'coco/bbox_mAP'.
        num_best (int): How many are averaged. Defaults to 10.
        rule (str): 'greater' or 'less': which value is better. Defaults to
            'greater'.
        evaluate (bool): Whether to validate the average at the end and to log
            the result. Defaults to False.
        filename (str): Name of the averaged file. Defaults to
            'average_best.pth'.

    Raises:
        UserError: The validation does not give the metric, or the disk is full.
    """

    # before the EMA hook (NORMAL) puts the trained weights back
    priority = 'ABOVE_NORMAL'

    def __init__(self, metric: str = 'coco/bbox_mAP', num_best: int = 10, rule: str = 'greater',
                 evaluate: bool = False, filename: str = 'average_best.pth') -> None:
        if rule not in ('greater', 'less'):
            raise ValueError("SnapshotAverageHook: rule must be 'greater' or 'less', "
                             f'got {rule!r}.')
        if num_best < 1:
            raise ValueError(f'SnapshotAverageHook: num_best must be at least 1, got {num_best}.')
        self.metric = metric
        self.num_best = num_best
        self.sign = 1 if rule == 'greater' else -1
        self.evaluate = evaluate
        self.filename = filename
        self.snapshots: List[Snapshot] = []
        self.folder: Optional[Path] = None  # until a training begins

    def before_train(self, runner) -> None:
        """Take over the snapshots of the training that is resumed, or start anew."""
        self.folder = Path(runner.work_dir) / 'snapshots'
        self.snapshots = [snapshot for snapshot in read_index(self.folder)
                          if snapshot.iter <= runner.iter and runner.iter > 0]
        barrier()  # everybody has read
        if is_main_process() and self.folder.is_dir():
            self._write_index()
            self._clear()

    def after_val_epoch(self, runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """Keep the validated weights if they are among the best."""
        if self.folder is None:
            return
        if self.metric not in (metrics or {}):
            raise UserError(
                f'SnapshotAverageHook: the validation gives no {self.metric}; set metric to one of '
                f'{", ".join(sorted(metrics or {})) or "its results (there are none)"}.')
        new = Snapshot(f'epoch_{runner.epoch}_iter_{runner.iter}.pth', runner.epoch, runner.iter,
                       float(metrics[self.metric]))
        if math.isnan(new.value):
            return
        others = [snapshot for snapshot in self.snapshots if snapshot.file != new.file]
        # of equal ones the later is better
        ranked = sorted([*others, new], key=lambda s: (self.sign * s.value, s.iter), reverse=True)
        self.snapshots = ranked[:self.num_best]
        if new not in self.snapshots or not is_main_process():
            return
        with explain_full_disk(self.folder / new.file, 'Training stopped; make room and continue '
                               'with --resume.'):
            write_checkpoint(self.folder / new.file,
                             weights_to_cpu(_model(runner).state_dict()))
            self._write_index()
        self._clear()

    def after_train(self, runner) -> None:
        """Write the average, and validate it if that is wanted."""
        if not self.snapshots:
            runner.logger.warning('SnapshotAverageHook: nothing was validated, so there is nothing '
                                  'to average.')
            return
        path = Path(runner.work_dir) / self.filename
        if is_main_process():
            state = average_states([self.folder / s.file for s in self.snapshots])
            meta = dict(
                epoch=runner.epoch, iter=runner.iter, cfg=runner.cfg.pretty_text, seed=runner.seed,
                experiment_name=runner.experiment_name, time=time.strftime('%Y%m%d_%H%M%S'),
                snapshots=[asdict(snapshot) for snapshot in self.snapshots])
            if hasattr(runner.train_dataloader.dataset, 'metainfo'):
                meta['dataset_meta'] = runner.train_dataloader.dataset.metainfo
            with explain_full_disk(path, 'The snapshots are kept.'):
                write_checkpoint(path, dict(meta=meta, state_dict=state))
            values = [snapshot.value for snapshot in self.snapshots]
            runner.logger.info(
                f'{path} is the average of {len(values)} snapshots with {self.metric} from '
                f'{min(values):.4f} to {max(values):.4f}')
        barrier()
        if self.evaluate:
            self._evaluate(runner, path)

    def _evaluate(self, runner, path: Path) -> None:
        """Validate the averaged file; the model has its own weights again afterwards."""
        model, loop = _model(runner), runner.val_loop
        own = {key: value.clone() for key, value in model.state_dict().items()}
        model.load_state_dict(read_checkpoint(path)['state_dict'])
        model.eval()
        try:
            with torch.no_grad():
                for batch in track(loop.dataloader, 'validating the average'):
                    loop.evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
            metrics = loop.evaluator.evaluate(len(loop.dataloader.dataset))
        finally:
            model.load_state_dict(own)
            model.train()
        runner.logger.info('the average: ' + ', '.join(
            f'{key} {value:.4f}' for key, value in metrics.items() if isinstance(value, float)))
        runner.message_hub.update_info('average_metrics', metrics)
        if is_main_process():
            write_json(path.with_suffix('.json'), metrics)

    def _write_index(self) -> None:
        write_json(self.folder / 'index.json', dict(
            metric=self.metric, snapshots=[asdict(snapshot) for snapshot in self.snapshots]))

    def _clear(self) -> None:
        """Remove what the index does not name."""
        kept = {snapshot.file for snapshot in self.snapshots}
        for path in self.folder.glob('*.pth'):  # half-written ones too
            if path.name not in kept:
                path.unlink()


def read_index(folder: Path) -> List[Snapshot]:
    """Return the snapshots of a folder, as far as their files are there."""
    try:
        found = read_json(folder / 'index.json', 'an index of snapshots', check=lambda index: [
            build(Snapshot, row) for row in index['snapshots']])
    except UserError:
        return []
    return [snapshot for snapshot in found if (folder / snapshot.file).is_file()]


def average_states(paths: Sequence[Path]) -> Dict[str, Tensor]:
    """Return the mean of state dicts, read one after the other.

    Args:
        paths (Sequence[Path]): Files of state dicts, the best first. What is not
            a floating-point number (counters) is taken from the first.

    Returns:
        dict[str, Tensor]: On the CPU, in the precision of the first.
    """
    first = read_checkpoint(paths[0])
    sums = {key: value.double() for key, value in first.items() if value.is_floating_point()}
    for path in track(paths[1:], 'averaging snapshots'):
        state = read_checkpoint(path)
        for key, total in sums.items():
            total += state[key]
    return {key: (sums[key] / len(paths)).to(value.dtype) if key in sums else value
            for key, value in first.items()}


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
