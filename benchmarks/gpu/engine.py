"""Runs items in order within a time, in a worker that can be killed, and keeps each result."""
import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from benchmarks.common import Worker
from benchmarks.gpu.items import FAILED, STOPPED, Item, Settings
from benchmarks.gpu.results import PIECE, StageResults
from benchmarks.gpu.stages import Stage
from mmyolonas.utils.child import PARENT
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.progress import format_duration

PROGRAM = Path(__file__).resolve().parent.parent / 'gpu.py'
#: Seconds kept back at the end of a run for writing and leaving.
_RESERVE = 5.
#: Of the log, of which the end is kept: every file has to come back from machines that limit it.
_LOG_BYTES = 4 * 2**20
#: A rehearsal begins every item that a tenth of a second is left for: the estimates are a GPU's.
_REHEARSAL_SCALE = 0.


def start_worker(settings: Settings, log: Path) -> Worker:
    """Start the process that does the items; what it prints goes to a file."""
    command = [str(PROGRAM), '--worker', json.dumps(settings.plain())]
    return Worker('gpu', sys.executable, command, threads=settings.workers,
                  env={PARENT: str(os.getpid())}, log=log)


def keep_end(path: Path, size: int) -> None:
    """Cut the beginning of a file that is larger, in place: a process may be writing to it."""
    if path.is_file() and path.stat().st_size > size:
        with open(path, 'r+b') as file:
            file.seek(-size // 2, os.SEEK_END)
            end = file.read()
            file.seek(0)
            file.write(b'...\n' + end)
            file.truncate()


@dataclass
class Clock:
    """The time of a run.

    Args:
        seconds (float): Of the whole run.
        now (Callable): A clock, for tests.
        begun (float, optional): When it began, by that clock. Defaults to now.
    """
    seconds: float
    now: Callable[[], float] = time.monotonic
    begun: Optional[float] = None
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.now() if self.begun is None else self.begun

    @property
    def left(self) -> float:
        """float: Seconds left."""
        return self.seconds - _RESERVE - (self.now() - self.start)


class Engine:
    """Does what is open of the stages, until the time is over.

    Args:
        settings (Settings): Given to each item.
        out (Path): Folder of the results.
        minutes (float): Time of the run.
        limits (dict[str, float]): Minutes by stage, in place of its share.
        start (Callable): Starts a worker, for tests.
        clock (Clock, optional): For tests.
        only (Sequence[str]): Keys of the items to do; all if empty.
    """

    def __init__(self, settings: Settings, out: Path, minutes: float,
                 limits: Optional[Dict[str, float]] = None,
                 start: Callable[[Settings, Path], Worker] = start_worker,
                 clock: Optional[Clock] = None, only: Sequence[str] = ()) -> None:
        self.settings = settings
        self.out = Path(out)
        self.limits = limits or {}
        self.clock = clock or Clock(60 * minutes)
        self.only = only
        self._start = start
        self._worker: Optional[Worker] = None
        self._machine: Dict[str, Any] = {}

    def run(self, stages: Sequence[Stage]) -> Dict[str, StageResults]:
        """Do the stages; return their results, complete or not.

        Raises:
            UserError: Another run writes to the same folder, or no stage has such an item.
        """
        items = {stage.name: stage.items(self.settings) for stage in stages}
        known = [item.key for found in items.values() for item in found]
        unknown = [key for key in self.only if key not in known]
        if unknown:
            raise UserError(f'--items: no stage that is asked for has an item {unknown[0]!r}; '
                            f'there are {", ".join(known)}.')
        if self.only:
            items = {name: [item for item in found if item.key in self.only]
                     for name, found in items.items()}
        self.out.mkdir(parents=True, exist_ok=True)
        with only_writer(self.out, advice='Wait for it, or give another --out.'):
            return self._run(stages, items)

    def _run(self, stages: Sequence[Stage],
             items: Dict[str, List[Item]]) -> Dict[str, StageResults]:
        results = {s.name: StageResults(self.out, s.name, self.settings.rehearse) for s in stages}
        todo = {stage.name: results[stage.name].open(items[stage.name]) for stage in stages}
        rest = {}
        try:
            for index, stage in enumerate(stages):
                if todo[stage.name]:
                    later = [s for s in stages[index:] if todo[s.name]]
                    rest[stage.name] = self._stage(stage, todo[stage.name], results[stage.name],
                                                   self._limit(stage, later))
            # what was too long for its stage's share may fit into what the others have left
            for stage in stages:
                if rest.get(stage.name) and stage.name not in self.limits:
                    self._stage(stage, rest[stage.name], results[stage.name], self.clock.left,
                                last=True)
        finally:
            self._stop()
        return results

    def _limit(self, stage: Stage, later: Sequence[Stage]) -> float:
        """Return the seconds of a stage: its share of what is left, unless it has a limit."""
        share = self.clock.left * stage.weight / sum(other.weight for other in later)
        return min(self.clock.left, 60 * self.limits.get(stage.name, share / 60))

    def _stage(self, stage: Stage, items: List[Item], results: StageResults, limit: float,
               last: bool = False) -> List[Item]:
        """Do items within a time; return those that there was no time for.

        Args:
            stage (Stage): The stage.
            items (list[Item]): Of it.
            results (StageResults): Get what comes of them.
            limit (float): Seconds.
            last (bool): Whether the time would be idle otherwise: then a piece of an item that
                can be gone on with is worth beginning. Defaults to False.
        """
        end = self.clock.now() + limit
        rest = []
        print(f'{stage.name}: {stage.title}; {len(items)} items open, '
              f'{format_duration(max(limit, 0))}', flush=True)
        scale = _REHEARSAL_SCALE if self.settings.rehearse else 1.
        for item in items:
            left = min(end - self.clock.now(), self.clock.left)
            needs = results.needs(item, scale, self.settings.scratch_id)
            if last and item.resumes:
                needs = min(needs, PIECE)
            if left <= max(needs, 0.1):
                rest.append(item)
                print(f'  {item.key}: not begun; it takes about {needs:.0f} s, and '
                      f'{max(left, 0):.0f} s are left', flush=True)
                continue
            self._item(stage, item, results, left)
        return rest

    def _item(self, stage: Stage, item: Item, results: StageResults, left: float) -> None:
        """Do one item; a worker that fails or outlasts its time costs this item alone."""
        start = self.clock.now()
        try:
            outcome = self._ask(stage, item, left)
        except RuntimeError as error:
            self._stop()
            spent = self.clock.now() - start
            outcome = dict(status=STOPPED, scratch=self.settings.scratch_id,
                           reason=f'stopped after {spent:.0f} s: its time was over')
            if spent < left:
                outcome = dict(status=FAILED, reason=str(error)[-3000:])
        results.write(item, seconds=self.clock.now() - start, machine=self._machine, **outcome)
        keep_end(self.out / 'gpu-log.txt', _LOG_BYTES)
        note = outcome.get('reason', '').strip().splitlines()[-1:]
        print(f'  {item.key}: {outcome["status"]} in '
              f'{format_duration(self.clock.now() - start)} {"".join(note)}', flush=True)

    def _ask(self, stage: Stage, item: Item, left: float) -> dict:
        timer = None
        try:
            if self._worker is None:
                self._worker = self._start(self.settings, self.out / 'gpu-log.txt')
            timer = threading.Timer(left, self._worker.kill)
            timer.daemon = True
            timer.start()
            if not self._machine:
                self._machine = self._worker.call('machine')
            return self._worker.call('run', stage=stage.name, key=item.key)
        finally:
            if timer is not None:
                timer.cancel()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.close()
            self._worker = None
