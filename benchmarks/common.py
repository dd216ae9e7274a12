"""What the benchmarks share: workers in interpreters of their own, interleaving, tables.

Implementations that cannot live in one environment are compared by starting each of them as a
long-lived worker process and asking them in turn (A B A B ...), one at a time. A slow spell of
the machine then hits all of them, and the ratio within a round is worth more than any
stop-watch figure. Only the standard library is imported here, because this file is read by the
peers' interpreters too.
"""
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import traceback
import types
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------- in the worker
def serve(build: Callable[[], Dict[str, Callable[..., Any]]]) -> None:
    """Answer JSON requests, one a line, until standard input ends.

    A request is ``{"op": name, ...keyword arguments}``, the answer ``{"result": ...}`` or
    ``{"error": text}``. Whatever the libraries print goes to standard error.

    Args:
        build (Callable): Returns the functions by operation name; called at the first request,
            so that what fails in it reaches the driver too. Results must be JSON.
    """
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    handlers = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            handlers = handlers or build()
            answer = dict(result=handlers[request.pop('op')](**request))
        except Exception:  # the driver raises it again, with the worker's name
            answer = dict(error=traceback.format_exc())
        print(json.dumps(answer), file=answers, flush=True)


def timed(function: Callable[[], Any], repeats: int = 1, clock: str = 'wall') -> List[float]:
    """Return the seconds of each of ``repeats`` calls.

    Args:
        function (Callable): What is timed.
        repeats (int): How often. Defaults to 1.
        clock (str): ``'wall'``, or ``'cpu'`` for the processor time of all threads, which other
            work on the machine distorts less; with one thread it is the better measure there.
    """
    now = dict(wall=time.perf_counter, cpu=time.process_time)[clock]
    seconds = []
    for _ in range(repeats):
        start = now()
        function()
        seconds.append(now() - start)
    return seconds


class PeakMemory:
    """Peak resident memory of this process since construction, in MiB.

    Linux keeps a high-water mark that can be reset, so what happened before (imports, compiled
    kernels, warm-up) does not count. Where it cannot be reset the mark of the whole process is
    used, and :attr:`exact` is False.
    """

    def __init__(self) -> None:
        self.base = self._status('VmRSS')
        self.exact = False
        with contextlib.suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')
            self.exact = self.base is not None

    @staticmethod
    def _status(key: str) -> Optional[float]:
        with contextlib.suppress(OSError):
            for line in Path('/proc/self/status').read_text().splitlines():
                if line.startswith(key + ':'):
                    return int(line.split()[1]) / 1024
        return None

    def read(self) -> float:
        """Return the peak in MiB."""
        if self.exact:
            return self._status('VmHWM')
        unit = 2**20 if sys.platform == 'darwin' else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def stand_in(*packages: str) -> None:
    """Let imports of missing packages succeed that a peer needs only for other purposes.

    Every name in such a package is a class that takes any arguments and does nothing. An
    installed package wins.
    """

    class Anything(types.ModuleType):
        __path__: List[str] = []

        def __getattr__(self, name: str) -> type:
            if name.startswith('__'):
                raise AttributeError(name)
            return type(name, (), dict(__init__=lambda self, *args, **kwargs: None))

    class Finder:

        @staticmethod
        def find_spec(name: str, *args: Any) -> Optional[ModuleSpec]:
            return ModuleSpec(name, Finder) if name.split('.')[0] in packages else None

        @staticmethod
        def create_module(spec: ModuleSpec) -> types.ModuleType:
            return Anything(spec.name)

        @staticmethod
        def exec_module(module: types.ModuleType) -> None:
            """There is nothing to run."""

    sys.meta_path.append(Finder)


# ---------------------------------------------------------------- in the driver
class Worker:
    """A worker process that :func:`serve` runs in.

    Args:
        name (str): How tables and errors call it.
        python (str): Interpreter to run.
        command (Sequence[str]): Script and arguments.
        threads (int): Threads of OpenMP and MKL.
        env (dict[str, str], optional): Further environment variables.
        log (Path, optional): File that gets what the worker prints; it is appended to.

    Raises:
        RuntimeError: The worker could not be started, died, or an operation failed in it; the
            message has its traceback.
    """

    def __init__(self,
                 name: str,
                 python: str,
                 command: Sequence[str],
                 threads: int = 2,
                 env: Optional[Dict[str, str]] = None,
                 log: Optional[Path] = None) -> None:
        self.name = name
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        env = dict(
            os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
            PYTHONPATH=path, **(env or {}))
        errors = None if os.environ.get('BENCHMARK_VERBOSE') else subprocess.DEVNULL
        with open(log or os.devnull, 'a', encoding='utf-8') as file:
            try:
                self.process = subprocess.Popen(
                    [python, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=file if log else errors, text=True, env=env,
                    start_new_session=log is not None)
            except OSError as error:
                raise RuntimeError(f'{name}: cannot start {python!r}: {error}') from error
        self._own_group = log is not None

    def call(self, op: str, **arguments: Any) -> Any:
        """Run an operation in the worker and return its result."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(dict(op=op, **arguments)), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise RuntimeError(
                f'{self.name}: the worker ended with exit code {code}; set BENCHMARK_VERBOSE=1 '
                'to see what it printed.')
        answer = json.loads(line)
        if 'error' in answer:
            raise RuntimeError(f'{self.name}: {op} failed.\n{answer["error"]}')
        return answer['result']

    def kill(self) -> None:
        """End the worker at once; with ``log``, the processes that it started too."""
        with contextlib.suppress(ProcessLookupError):
            if self._own_group:
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def close(self) -> None:
        """End the worker."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> 'Worker':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


def interleave(workers: Sequence[Worker],
               op: str,
               rounds: int,
               label: str = '',
               **arguments: Any) -> Dict[str, List[float]]:
    """Ask all workers in turn, ``rounds`` times, and show progress.

    Args:
        workers (Sequence[Worker]): Asked in this order in every round.
        op (str): Operation that returns a list of seconds.
        rounds (int): Number of rounds.
        label (str): What the progress line calls it; defaults to ``op``.
        **arguments: Passed to the operation.

    Returns:
        dict[str, list[float]]: Per worker one figure a round: the median of what it returned.
    """
    seconds: Dict[str, List[float]] = {worker.name: [] for worker in workers}
    start = time.monotonic()
    for index in range(rounds):
        for worker in workers:
            seconds[worker.name].append(statistics.median(worker.call(op, **arguments)))
        spent = time.monotonic() - start
        eta = spent / (index + 1) * (rounds - index - 1)
        print(f'\r{label or op}: round {index + 1}/{rounds}, {spent:.0f} s, ETA {eta:.0f} s  ',
              end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


@dataclass
class Comparison:
    """One implementation's times and how ours compares, both over the same rounds.

    Attributes:
        name (str): Implementation.
        median, low, high (float): Seconds.
        ratio, ratio_low, ratio_high (float): Our time divided by this one's, taken within each
            round: median, smallest and largest.
        best_ratio (float): Our smallest time divided by this one's smallest, which a busy
            machine distorts least.
    """
    name: str
    median: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    best_ratio: float


def compare(seconds: Dict[str, List[float]], ours: str) -> List[Comparison]:
    """Summarise :func:`interleave`'s result against the implementation called ``ours``."""
    rows = []
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds[ours], times)]
        rows.append(
            Comparison(name, statistics.median(times), min(times), max(times),
                       statistics.median(ratios), min(ratios), max(ratios),
                       min(seconds[ours]) / min(times)))
    return rows


def table(rows: Sequence[Comparison], title: str, unit: str = 'ms', scale: float = 1e3,
          extra: Optional[Dict[str, Dict[str, str]]] = None) -> str:
    """Return a Markdown table of the comparison.

    Args:
        rows (Sequence[Comparison]): From :func:`compare`.
        title (str): First column's heading.
        unit (str): Unit of the times. Defaults to ``'ms'``.
        scale (float): Seconds to that unit. Defaults to 1000.
        extra (dict, optional): Further columns: heading to {name: text}.
    """
    extra = extra or {}
    head = [title, f'median {unit} (min .. max)', 'ours / this (min .. max)', 'best / best', *extra]
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for row in rows:
        cells = [
            row.name,
            f'{row.median * scale:.1f} ({row.low * scale:.1f} .. {row.high * scale:.1f})',
            f'**{row.ratio:.2f}** ({row.ratio_low:.2f} .. {row.ratio_high:.2f})',
            f'{row.best_ratio:.2f}', *(column.get(row.name, '') for column in extra.values())
        ]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with another text between two of its lines.

    Raises:
        ValueError: It lacks one of them.
    """
    before, found, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not found or not last:
        raise ValueError(f'the page lacks the lines {begin} and {end}.')
    return f'{before}{begin}\n\n{text}\n\n{end}{after}'


def write_json(path: str, **sections: Any) -> None:
    """Write results atomically, dataclasses as dictionaries."""

    def plain(value: Any) -> Any:
        if isinstance(value, Comparison):
            return asdict(value)
        raise TypeError(f'cannot write {type(value).__name__}')

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.part')
    partial.write_text(json.dumps(sections, default=plain, indent=2) + '\n')
    os.replace(partial, path)
