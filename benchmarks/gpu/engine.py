"""Runs items in order within a time, in a worker that can be killed, and keeps each result."""
import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from filelock import FileLock, Timeout

from benchmarks.common import Worker
from benchmarks.gpu.items import FAILED, STOPPED, Item, Settings
from benchmarks.gpu.results import StageResults
from benchmarks.gpu.stages import Stage
from mmyolonas.utils.child import PARENT
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.progress import format_duration

PROGRAM = Path(__file__).resolve().parent.parent / 'gpu.py'
#: Seconds kept back at the end of a run for writing and leaving.
_RESERVE = 5.
#: A rehearsal begins every item that a tenth of a second is left for: the estimates are a GPU's.
_REHEARSAL_SCALE = 0.


def start_worker(settings: Settings, log: Path) -> Worker:
    """Start the process that does the items; what it prints goes to a file."""
    command = [str(PROGRAM), '--worker', json.dumps(settings.plain())]
    return Worker('gpu', sys.executable, command, threads=settings.workers,
                  env={PARENT: str(os.getpid())}, log=log)


@dataclass
class Clock:
    """The time of a run.

    Args:
        seconds (float): Of the whole run.
        now (Callable): A clock, for tests.
    """
    seconds: float
    now: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.now()

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
    """

    def __init__(self, settings: Settings, out: Path, minutes: float,
                 limits: Optional[Dict[str, float]] = None,
                 start: Callable[[Settings, Path], Worker] = start_worker,
                 clock: Optional[Clock] = None) -> None:
        self.settings = settings
        self.out = Path(out)
        self.limits = limits or {}
        self.clock = clock or Clock(60 * minutes)
        self._start = start
        self._worker: Optional[Worker] = None
        self._machine: Dict[str, Any] = {}

    def run(self, stages: Sequence[Stage]) -> Dict[str, StageResults]:
        """Do the stages; return their results, complete or not.

        Raises:
            UserError: Another run writes to the same folder.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.out / '.lock', timeout=0):
                return self._run(stages)
        except Timeout as error:
            raise UserError(f'another run is writing to {self.out}; wait for it, or give another '
                            '--out.') from error

    def _run(self, stages: Sequence[Stage]) -> Dict[str, StageResults]:
        results = {s.name: StageResults(self.out, s.name, self.settings.rehearse) for s in stages}
        todo = {stage.name: results[stage.name].open(stage.items(self.settings))
                for stage in stages}
        try:
            for index, stage in enumerate(stages):
                if todo[stage.name]:
                    later = [s for s in stages[index:] if todo[s.name]]
                    self._stage(stage, todo[stage.name], results[stage.name], later)
        finally:
            self._stop()
        return results

    def _limit(self, stage: Stage, later: Sequence[Stage]) -> float:
        """Return the seconds of a stage: its share of what is left, unless it has a limit."""
        share = self.clock.left * stage.weight / sum(other.weight for other in later)
        return min(self.clock.left, 60 * self.limits.get(stage.name, share / 60))

    def _stage(self, stage: Stage, items: List[Item], results: StageResults,
               later: Sequence[Stage]) -> None:
        limit = self._limit(stage, later)
        end = self.clock.now() + limit
        print(f'{stage.name}: {stage.title}; {len(items)} items open, '
              f'{format_duration(max(limit, 0))}', flush=True)
        scale = _REHEARSAL_SCALE if self.settings.rehearse else 1.
        for item in items:
            left = min(end - self.clock.now(), self.clock.left)
            needs = results.needs(item, scale)
            if left <= max(needs, 0.1):
                print(f'  {item.key}: left for another run; it takes about {needs:.0f} s, and '
                      f'{max(left, 0):.0f} s are left', flush=True)
                continue
            self._item(stage, item, results, left)

    def _item(self, stage: Stage, item: Item, results: StageResults, left: float) -> None:
        """Do one item; a worker that fails or outlasts its time costs this item alone."""
        start = self.clock.now()
        try:
            outcome = self._ask(stage, item, left)
        except RuntimeError as error:
            self._stop()
            spent = self.clock.now() - start
            outcome = dict(status=STOPPED, reason=f'stopped after {spent:.0f} s: its time was over')
            if spent < left:
                outcome = dict(status=FAILED, reason=str(error)[-3000:])
        results.write(item, seconds=self.clock.now() - start, machine=self._machine, **outcome)
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
