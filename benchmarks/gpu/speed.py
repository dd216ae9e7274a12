"""Stage 2: training steps in turn with the peers, loading of data, the slowest parts."""
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from benchmarks.common import Worker, compare, interleave
from benchmarks.gpu.items import Item, Settings, Skip
from benchmarks.gpu.parts import profile_step
from benchmarks.gpu.pipeline import loading_share

SCRIPT = Path(__file__).resolve().parent / 'speed_worker.py'
OURS = 'mmyolonas'
VARIANTS: Dict[str, dict] = {
    OURS: {}, 'mmyolonas, channels_last': dict(memory_format='channels_last'),
    'mmyolonas, compiled': dict(compile=True)}
PEERS = ('modern-yolonas', 'super-gradients', 'rtmdet-s')
#: Model, batch, precision; the recipe's is fp16.
CELLS: Tuple[Tuple[str, int, str], ...] = (
    ('s', 32, 'fp16'), ('m', 32, 'fp16'), ('l', 16, 'fp16'), ('pose_s', 32, 'fp16'),
    ('s', 64, 'fp16'), ('s', 16, 'fp16'), ('s', 32, 'bf16'), ('s', 32, 'fp32'),
    ('m', 64, 'fp16'), ('l', 32, 'fp16'))
#: So many of them, one of each model, are compiled as well, which takes a minute.
COMPILED = 4
#: At least this often the faster peer's images a second, of both as they come.
AIM = 1.3

_workers: Dict[str, Worker] = {}


def items(settings: Settings) -> List[Item]:
    """Return the cells; by worth, S first, then what explains its time."""
    cells = [f'step/{arch}-b{batch}-{precision}' for arch, batch, precision in CELLS]
    if settings.rehearse:
        cells = ['step/s-b2-bf16', 'step/pose_n-b2-fp32'] if not settings.quick else [
            'step/s-b2-fp32']
    parts = ['parts/s', 'data/s'] if settings.rehearse else ['parts/s', 'data/s', 'parts/pose_s',
                                                             'parts/m', 'data/m']
    order = [*cells[:1], *parts[:2], *cells[1:], *parts[2:]]
    seconds = dict.fromkeys(cells, 60) | dict.fromkeys(cells[:COMPILED], 150)
    return [Item(key, seconds.get(key, 45)) for key in order]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    kind, name = key.split('/')
    if kind == 'parts':
        return profile_step(name, settings)
    if kind == 'data':
        return loading_share(name, settings)
    arch, batch, precision = name.split('-')
    return compare_steps(arch, int(batch[1:]), precision, settings)


def _python(name: str, settings: Settings) -> Optional[str]:
    """Return the interpreter of a peer; None where there is none."""
    from importlib.util import find_spec
    if name == 'super-gradients':
        return settings.sg_python
    if name == 'modern-yolonas':
        return settings.peer_python or (sys.executable if find_spec('modern_yolonas') else None)
    if name == 'rtmo-s' and find_spec('mmpose') is None:
        return None
    return sys.executable


def _worker(name: str, python: str, settings: Settings) -> Worker:
    """Return the process of an implementation, kept for the whole stage."""
    worker = _workers.get(name)
    if worker is None or worker.process.poll() is not None:
        worker = Worker(name, python, [str(SCRIPT)], threads=max(1, settings.workers))
        _workers[name] = worker
    return worker


def finish() -> None:
    """End the processes."""
    while _workers:
        _workers.popitem()[1].close()


def compare_steps(arch: str, batch: int, precision: str, settings: Settings) -> Dict[str, Any]:
    """Time whole steps of one size, all implementations in turn.

    An implementation that fails, for want of memory or of a package, is left out with its reason.
    """
    pose = arch.startswith('pose')
    if pose and _python('rtmo-s', settings) is None:
        raise Skip('mmpose is not installed')
    entries: Dict[str, dict] = dict(VARIANTS)
    entries.update(dict.fromkeys(('rtmo-s', ) if pose else PEERS, {}))
    if settings.rehearse or (arch, batch, precision) not in CELLS[:COMPILED]:
        entries.pop('mmyolonas, compiled')
    if settings.quick:
        entries = {name: entries[name] for name in (OURS, 'rtmdet-s')}
    problem = dict(arch=arch, batch=batch, precision=precision, size=settings.size,
                   device=settings.device)
    ready, info, missing = [], {}, {}
    for name, options in entries.items():
        python = _python(name, settings)
        if python is None:
            missing[name] = 'not installed here'
            continue
        worker = _worker(name, python, settings)
        try:
            info[name] = worker.call('setup', name=name.split(',')[0],
                                     problem=dict(problem, **options),
                                     warmup=1 if settings.rehearse else 8)
            ready.append(worker)
        except RuntimeError as error:
            missing[name] = str(error).strip().splitlines()[-1][-300:]
    if OURS not in info:
        raise RuntimeError(f'{OURS}: {missing[OURS]}')
    try:
        seconds = interleave(ready, 'time', 2 if settings.rehearse else 12, label=arch,
                             repeats=1 if settings.rehearse else 5)
    finally:
        for worker in ready:
            worker.call('release')
    return _summary(batch, seconds, info, missing)


def _summary(batch: int, seconds: Dict[str, List[float]], info: Dict[str, dict],
             missing: Dict[str, str]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for row in compare(seconds, OURS):
        found[row.name] = dict(
            images_a_second=batch / row.median, ms=1e3 * row.median,
            times_as_fast_as_ours=row.ratio, lowest=row.ratio_low, highest=row.ratio_high,
            peak_mib=info[row.name]['peak_mib'], loss=info[row.name]['loss'])
    peers = {name: row['times_as_fast_as_ours'] for name, row in found.items()
             if name in ('modern-yolonas', 'super-gradients')}
    result: Dict[str, Any] = dict(implementations=found, left_out=missing)
    if peers:
        faster = max(peers, key=peers.get)
        best = max(found[name]['times_as_fast_as_ours'] for name in found if name.startswith(OURS))
        # both as they come: a peer could be compiled as well
        factor = 1 / peers[faster]
        result['aim'] = dict(
            against=faster, factor=factor, lowest=1 / found[faster]['highest'],
            highest=1 / found[faster]['lowest'], wanted=AIM, met=factor >= AIM,
            factor_of_our_best=best * factor)
    return result
