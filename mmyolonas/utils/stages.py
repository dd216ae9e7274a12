"""Long work in stages: timed, resumable, with a summary at the end."""
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from mmyolonas.utils.child import PARENT
from mmyolonas.utils.errors import FullDiskError, UserError
from mmyolonas.utils.files import FULL_DISK, read_json, write_json, write_text
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.progress import format_duration

_NOTE_SECONDS = 10.0

#: What a stage reports: lines of the summary by their label.
Results = Dict[str, Any]


@dataclass
class Stage:
    """One piece of work.

    Args:
        name: Short name, for ``--only``.
        title: What it does.
        run: Does it. Takes the caller's context and returns what to show in the
            summary, numbers or text by label; paths as ``Path``.
        outputs: Returns files that must exist for the stage to count as done.
    """
    name: str
    title: str
    run: Callable[[Any], Optional[Results]]
    outputs: Callable[[Any], Sequence[Path]] = field(default=lambda context: ())


class StageRunner:
    """Runs stages in order and remembers in a file which are done.

    A stage is run if it was not, if a file it made is gone, if the options have
    changed, or if an earlier stage was run again. The time of an interrupted
    stage is added to that of its next attempt.

    Args:
        stages (Sequence[Stage]): The stages in order.
        work_dir (str | Path): Folder of the state file and the summary.
        options (dict): Plain values that the results depend on.
    """

    def __init__(self, stages: Sequence[Stage], work_dir: Path, options: Dict[str, Any]) -> None:
        self.stages = list(stages)
        self.work_dir = Path(work_dir)
        self.options = json.loads(json.dumps(options))
        self.path = self.work_dir / 'stages.json'
        self.state: Dict[str, Any] = dict(options=self.options, stages={})

    def load(self, fresh: bool = False) -> None:
        """Read what is done; with ``fresh`` or other options nothing is."""
        if fresh or not self.path.is_file():
            return
        try:
            state = read_json(self.path, 'a record of stages', check=_check_state)
        except UserError as error:
            print(f'{error} Starting anew.', flush=True)
            return
        if state['options'] == self.options:
            self.state = state
        else:
            print('the options have changed: starting anew')

    def is_done(self, stage: Stage, context: Any) -> bool:
        """Whether a stage needs not be run."""
        record = self.state['stages'].get(stage.name, {})
        return bool(record.get('done')) and all(path.exists() for path in stage.outputs(context))

    def run(self, context: Any, only: Optional[Sequence[str]] = None) -> None:
        """Run what is not done.

        Args:
            context (Any): Given to each stage.
            only (Sequence[str], optional): Names of stages to run, done or not;
                the others are left as they are.

        Raises:
            UserError: There is no stage of such a name, or another process is running
                them.
        """
        with only_writer(self.path):
            self._run_all(context, only)

    def _run_all(self, context: Any, only: Optional[Sequence[str]]) -> None:
        names = [stage.name for stage in self.stages]
        unknown = [name for name in only or () if name not in names]
        if unknown:
            raise UserError(f'unknown stage {", ".join(unknown)}; there are {", ".join(names)}.')
        again = False
        for number, stage in enumerate(self.stages, 1):
            head = f'[{number}/{len(self.stages)}] {stage.title}'
            if stage.name not in only if only else self.is_done(stage, context) and not again:
                print(f'{head}: {"left out" if only else "done before"}', flush=True)
                continue
            again = True
            print(head, flush=True)
            self._run(stage, context)

    def _run(self, stage: Stage, context: Any) -> None:
        before = self.state['stages'].get(stage.name, {})
        spent = 0.0 if before.get('done') else before.get('seconds', 0.0)
        start = time.monotonic()
        record: Dict[str, Any] = dict(done=False, seconds=spent, results={})
        # noted before, too: what a killed process has begun is continued, not repeated
        self.state['stages'][stage.name] = record
        write_json(self.path, self.state)

        def note_time() -> None:
            record['seconds'] = spent + time.monotonic() - start
            write_json(self.path, self.state)

        try:
            with _every(_NOTE_SECONDS, note_time):
                results = stage.run(context) or {}
            record.update(done=True, results={k: _plain(v) for k, v in results.items()})
        finally:
            note_time()
        print(f'    {format_duration(record["seconds"])}  '
              + '  '.join(f'{key}: {_show(value)}' for key, value in record['results'].items()),
              flush=True)

    def results(self, name: str) -> Results:
        """Return what a stage reported; empty if it was not run."""
        return self.state['stages'].get(name, {}).get('results', {})

    def summary(self, title: str) -> str:
        """Return a Markdown table of the stages, and write it to ``summary.md``."""
        lines = [f'# {title}', '', '| stage | time | result |', '|---|---|---|']
        total = 0.0
        for stage in self.stages:
            record = self.state['stages'].get(stage.name)
            if not record or not record['done']:
                lines.append(f'| {stage.title} | | not run |')
                continue
            total += record['seconds']
            shown = ', '.join(f'{key} {_show(value)}' for key, value in record['results'].items())
            lines.append(f'| {stage.title} | {format_duration(record["seconds"])} | {shown} |')
        lines.append(f'| all | {format_duration(total)} | |')
        text = '\n'.join(lines) + '\n'
        write_text(self.work_dir / 'summary.md', text)
        return text


@contextmanager
def _every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something from time to time, so that little is lost when the process is killed."""
    end = threading.Event()

    def repeat() -> None:
        while not end.wait(seconds):
            with suppress(OSError):  # a full disk is noticed by the work itself
                action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _check_state(state: Dict[str, Any]) -> Dict[str, Any]:
    """Return a state as it was written; raise if it is anything else."""
    options, stages = state['options'], state['stages']
    for record in stages.values():
        if not isinstance(record['done'], bool) or not record['seconds'] >= 0:
            raise ValueError('done and seconds have other types')
        record['results'].items()
    return dict(options=options, stages=stages)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _show(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def run_tool(arguments: List[str], log: Path, show: str,
             cwd: Optional[Path] = None) -> Optional[float]:
    """Run a Python script, keep its whole output in a file and show some lines.

    Args:
        arguments (list[str]): Script and its arguments.
        log (Path): File for the output; it is appended to.
        show (str): Regular expression; the part of a line that it matches is
            shown.
        cwd (Path, optional): Folder to run in.

    Returns:
        float | None: The largest memory of the script's process in megabytes (not
        of processes it started); None where the system does not tell.

    The script ends when this process is killed, if it calls
    :func:`mmyolonas.utils.cli.run_main` (on Linux).

    Raises:
        FullDiskError: The script failed because the disk is full.
        UserError: It failed otherwise. The message has its last lines.
    """
    pattern = re.compile(show)
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: List[str] = []
    with open(log, 'a', encoding='utf-8') as file:
        process = subprocess.Popen(
            [sys.executable, '-u', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', cwd=cwd, env={**os.environ, PARENT: str(os.getpid())})
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                tail = [*tail[-4:], line.rstrip()]
                match = pattern.search(line)
                if match:
                    print(f'    {match[0].rstrip()}', flush=True)
            code, peak = _wait(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        full = any(os.strerror(number) in line for number in FULL_DISK for line in tail)
        raise (FullDiskError if full else UserError)(
            f'{Path(arguments[0]).name} failed (exit code {code}); its output is in {log} and '
            'ends with:\n' + '\n'.join(tail))
    return peak


def _wait(process: subprocess.Popen) -> Tuple[int, Optional[float]]:
    """Wait for a process; return its exit code and its largest memory in megabytes."""
    if not hasattr(os, 'wait4'):
        return process.wait(), None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # kilobytes, but bytes on macOS
    unit = 1e6 if sys.platform == 'darwin' else 1e3
    return process.returncode, round(usage.ru_maxrss / unit, 1)


def best_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint that was best in the validations of a training.

    Raises:
        UserError: There is none.
    """
    found = sorted(Path(work_dir).glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f'no checkpoint was validated in {work_dir}.')
    return found[-1]


def last_metrics(work_dir: Path) -> Dict[str, float]:
    """Return the metrics of the last call of ``tools/test.py`` with a work folder."""
    found = sorted(Path(work_dir).glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f'there are no metrics of a test in {work_dir}.')
    return read_json(found[-1], 'a file of metrics')
