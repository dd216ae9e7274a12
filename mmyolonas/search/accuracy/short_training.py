"""Short trainings by one recipe: what the scores and the surrogate are judged by."""
import gc
import io
import json
import shutil
import time
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.hooks import Hook

from mmyolonas.engine.hooks.nonfinite_loss_hook import NonFiniteLossError
from mmyolonas.engine.running import build_runner
from mmyolonas.search.accuracy.halves import HalvesHook
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike
from mmyolonas.utils.journal import Journal, read_lines
from mmyolonas.utils.progress import track
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas-short-trainings/2'
#: Ends of a process within one training after which that training counts as failed.
_MAX_ENDS = 3


@dataclass
class Training:
    """A finished training.

    Args:
        key (str): :func:`mmyolonas.search.space.space.genome_key`.
        genome (dict): The architecture.
        seed (int): Seed of weights, order and augmentation.
        recipe (str): Fingerprint of the recipe.
        origin (str): Why it was trained: ``'random'``, ``'published s'``,
            ``'frontier'``.
        ok (bool): Whether it succeeded.
        ap (float): Box AP (0..1) of the validation images, of poses OKS AP.
        ap50 (float): AP at 0.50 alike.
        halves (dict): AP of the half of the validation images that chooses and of the
            half that reports; see :mod:`mmyolonas.search.accuracy.halves`.
        seconds (float): Processor time.
        message (str): Why it failed.
    """
    key: str
    genome: Genome
    seed: int
    recipe: str
    origin: str
    ok: bool = True
    ap: float = 0.
    ap50: float = 0.
    halves: Dict[str, float] = field(default_factory=dict)
    seconds: float = 0.
    message: str = ''


@dataclass
class Task:
    """A training to be done; see :class:`Training`."""
    genome: Genome
    seed: int = 0
    origin: str = 'random'


@dataclass
class TrainingLog:
    """Trainings kept in a folder, a line each, by one or several processes.

    Args:
        folder (Path): Folder of ``trainings*.jsonl``.
        trainings (dict): By key, seed and recipe.
        begun (dict): How often a training was begun and did not end.
    """
    folder: Path
    trainings: Dict[Tuple[str, int, str], Training] = field(default_factory=dict)
    begun: Dict[Tuple[str, int, str], int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: PathLike) -> 'TrainingLog':
        """Read all journals of a folder; there may be none."""
        log = cls(Path(folder))
        for path in sorted(log.folder.glob('trainings*.jsonl')):
            lines = path.read_bytes().splitlines(keepends=True)
            if lines and lines[0] != json.dumps(dict(format=FORMAT)).encode() + b'\n':
                raise UserError(f'{path} is no journal of short trainings.')
            for record in read_lines(lines[1:]):  # another process may be writing the last
                with suppress(ValueError, TypeError, LookupError):
                    log.take(record)
        return log

    def take(self, record: Dict[str, Any]) -> None:
        """Add a line of a journal."""
        if 'begun' in record:
            key = tuple(record['begun'])
            self.begun[key] = self.begun.get(key, 0) + 1
        elif 'interrupted' in record:
            key = tuple(record['interrupted'])
            self.begun[key] = max(0, self.begun.get(key, 0) - 1)
        else:
            training = build(Training, record, ignore=True)
            key = (training.key, training.seed, training.recipe)
            self.trainings[key] = training
            self.begun.pop(key, None)

    def of_recipe(self, recipe: str) -> List[Training]:
        """Return the successful trainings by a recipe."""
        return [t for t in self.trainings.values() if t.recipe == recipe and t.ok]


class ShortTrainings:
    """Trains architectures by one recipe and keeps what comes out.

    Args:
        space (Space): The architectures.
        recipe (Recipe): How they are trained.
        folder (str | Path): For the journal and, while it runs, a training's files.
        part (str): For several processes at once: a name for the journal of each.
    """

    def __init__(self, space: Space, recipe: Recipe, folder: PathLike, part: str = '') -> None:
        self.space, self.recipe = space, recipe
        self.folder = Path(folder)
        self.path = self.folder / f'trainings{"-" if part else ""}{part}.jsonl'

    def run(self, tasks: Sequence[Task], limit: Optional[int] = None,
            seconds: Optional[float] = None) -> List[Training]:
        """Train what is not trained yet.

        Args:
            tasks (Sequence[Task]): What is wanted.
            limit (int, optional): Most trainings of this call; the rest is left
                for the next.
            seconds (float, optional): Time after which none is begun.

        Returns:
            list[Training]: Of the tasks that are done, in order.
        """
        log = TrainingLog.read(self.folder)
        name = self.recipe.fingerprint
        keys = [(genome_key(task.genome), task.seed, name) for task in tasks]
        wanted: Dict[Tuple[str, int, str], Task] = {}
        for key, task in zip(keys, tasks):
            wanted.setdefault(key, task)  # one architecture may be asked for twice
        missing = [key for key in wanted if key not in log.trainings]
        chosen = missing if limit is None else missing[:limit]
        if missing:
            print(f'short trainings: {len(wanted)} wanted, {len(wanted) - len(missing)} done '
                  f'before, {len(chosen)} now', flush=True)
        advice = 'For several processes on one folder give each a --shard I/N.'
        with Journal(self.path, dict(format=FORMAT), advice=advice) as journal:
            start = time.monotonic()
            for key in track(chosen, 'short trainings'):
                if seconds is not None and time.monotonic() - start >= seconds:
                    break
                task = wanted[key]
                training = self._train(task, key, log, journal)
                journal.write(asdict(training))
                log.take(asdict(training))
                print(f'  {training.origin} {training.key}: ' + (
                    f'AP {100 * training.ap:.2f}, AP50 {100 * training.ap50:.2f}, '
                    f'{training.seconds:.0f} s' if training.ok else training.message), flush=True)
        return [log.trainings[key] for key in keys if key in log.trainings]

    def _train(self, task: Task, key: Tuple[str, int, str], log: TrainingLog,
               journal: Journal) -> Training:
        training = Training(key[0], task.genome, task.seed, key[2], task.origin)
        if log.begun.get(key, 0) >= _MAX_ENDS:
            training.ok = False
            training.message = (f'the process ended {_MAX_ENDS} times while it was trained, '
                                'probably for lack of memory')
            return training
        journal.write(dict(begun=key))
        folder = self.folder / 'running' / f'{key[0]}_{task.seed}'
        start = time.process_time()
        try:
            scores = train_architecture(self.recipe, self.space.decode(task.genome), task.seed,
                                        folder)
            training.ap, training.ap50 = scores['ap'], scores['ap50']
            training.halves = scores['halves']
        except (MemoryError, RuntimeError) as error:
            reason = failure(error)
            if reason is None:
                raise
            training.ok, training.message = False, reason
        except KeyboardInterrupt:
            journal.write(dict(interrupted=key))
            raise
        training.seconds = round(time.process_time() - start, 2)
        shutil.rmtree(folder, ignore_errors=True)
        return training


def failure(error: BaseException) -> Optional[str]:
    """Return why an architecture failed, or None if the error is not its own."""
    text = str(error)
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
            words in text for words in ('out of memory', "can't allocate memory",
                                        'not enough memory')):
        return 'out of memory'
    if isinstance(error, NonFiniteLossError):
        return 'the loss did not stay finite'
    return None


class _Outcome(Hook):
    """Keeps the last validation's metrics."""

    def __init__(self) -> None:
        self.metrics: Dict[str, float] = {}

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.metrics = dict(metrics or {})


class _Silent(io.TextIOBase):
    """Takes the logger's lines for the terminal; the log file has them."""

    def write(self, text: str) -> int:
        return len(text)


def train_architecture(recipe: Recipe, architecture: dict, seed: int,
                       work_dir: PathLike) -> Dict[str, Any]:
    """Train a network, going on at its last checkpoint if there is one.

    Args:
        recipe (Recipe): How.
        architecture (dict): See :func:`mmyolonas.search.space.encoding.decode`.
        seed (int): Seed.
        work_dir (str | Path): Folder of log and checkpoints.

    Returns:
        dict: ``ap`` and ``ap50`` (0..1), and ``halves``: AP of each half.
    """
    cfg = recipe.config(architecture, seed)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{Path(work_dir).name}_{time.time_ns()}'
    if 'visualizer' in cfg:
        cfg.visualizer.vis_backends = []
    checkpoint = last_checkpoint(cfg.work_dir)
    if checkpoint is not None:
        cfg.resume, cfg.load_from = True, str(checkpoint)
    outcome, halves = _Outcome(), HalvesHook()
    with redirect_stdout(_Silent()):
        runner = build_runner(cfg)
        runner.register_hook(outcome)
        runner.register_hook(halves)
        runner.train()
        if not halves.ap:  # it was complete and only its result was lost
            runner.val()
    metrics = outcome.metrics
    del runner
    gc.collect()
    names = ('coco/bbox_mAP', 'coco/AP')
    ap = next((metrics[name] for name in names if name in metrics), None)
    if not metrics:
        ap = 0.  # the evaluator reports nothing if nothing was detected
    if ap is None:
        raise UserError(f'{recipe.path} is no recipe for short trainings: its validation reports '
                        f'{", ".join(metrics)}, not {" or ".join(names)}.')
    ap50 = metrics.get('coco/bbox_mAP_50', metrics.get('coco/AP .5', 0.))
    # -1 where there is nothing to find
    return dict(ap=max(float(ap), 0.), ap50=max(float(ap50), 0.), halves=halves.ap)
