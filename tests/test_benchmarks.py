"""The benchmarks run on tiny problems; no statement about time."""
import json
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import PeakMemory, Worker, compare, interleave, table, timed, write_json

from .tiny import write_data

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = '''
import sys
from benchmarks.common import serve, stand_in
stand_in('no_such_package', 'json')

def build():
    import json.decoder
    from no_such_package.part import Thing
    assert hasattr(json, 'loads') and Thing.__name__ == 'Thing'
    print('chatter of a library')
    return dict(time=lambda factor: [factor * float(sys.argv[1])] * 3, fail=lambda: 1 / 0,
                leave=lambda: sys.exit(3))

serve(build)
'''


@pytest.fixture
def workers(tmp_path):
    path = tmp_path / 'worker.py'
    path.write_text(SCRIPT)
    started = [Worker(name, sys.executable, [str(path), seconds])
               for name, seconds in (('ours', '1'), ('peer', '4'))]
    yield started
    for worker in started:
        worker.close()


def test_workers_are_asked_in_turn_and_compared(workers):
    seconds = interleave(workers, 'time', rounds=2, factor=0.5)
    assert seconds == dict(ours=[0.5, 0.5], peer=[2, 2])
    ours, peer = compare(seconds, 'ours')
    assert (ours.ratio, peer.ratio, peer.best_ratio) == (1, 0.25, 0.25)
    text = table([ours, peer], 'who', extra=dict(note=dict(peer='slow')))
    assert '| peer | 2000.0 (2000.0 .. 2000.0) | **0.25** (0.25 .. 0.25) | 0.25 | slow |' in text


def test_failures_in_a_worker_name_it(workers):
    with pytest.raises(RuntimeError, match='peer: fail failed(.|\n)*ZeroDivisionError'):
        workers[1].call('fail')
    assert workers[1].call('time', factor=1) == [4] * 3  # and it goes on
    with pytest.raises(RuntimeError, match='peer: the worker ended with exit code 3'):
        workers[1].call('leave')
    with pytest.raises(RuntimeError, match='nobody: cannot start'):
        Worker('nobody', str(ROOT / 'no-such-python'), [])


def test_measures(tmp_path):
    memory = PeakMemory()
    with mmap.mmap(-1, 64 * 2**20) as block:  # memory of its own, not what was freed before
        block[::4096] = bytes(64 * 2**8)
        assert not memory.exact or memory.read() - memory.base > 50
    assert all(len(timed(lambda: None, 2, clock)) == 2 for clock in ('wall', 'cpu'))
    write_json(tmp_path / 'new' / 'x.json', rows=compare(dict(ours=[1., 2.]), 'ours'))
    assert json.loads((tmp_path / 'new' / 'x.json').read_text())['rows'][0]['median'] == 1.5
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['x.json']


def run(script: str, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / 'benchmarks' / script), *args], text=True,
                          capture_output=True, timeout=300)


@pytest.mark.long
def test_training_step(tmp_path):
    result = run('train_step.py', '--size', '64', '--batch', '2', '--boxes', '3', '--classes', '5',
                 '--rounds', '1', '--warmup', '0', '--threads', '1', '--loss-repeats', '1',
                 '--json', str(tmp_path / 'step.json'))
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / 'step.json').read_text())['results']
    assert set(results) == {'step', 'loss', 'decode_loss'}
    loss = {part: values['info']['mmyolonas']['loss'] for part, values in results.items()}
    assert loss['loss'] == pytest.approx(loss['decode_loss'], rel=1e-5)
    assert loss['step'] > 0 and result.stdout.count('| mmyolonas |') == 3


@pytest.mark.long
def test_training_pipeline(tmp_path):
    data = write_data(tmp_path / 'data')
    (data / 'annotations.json').rename(data / '_annotations.coco.json')
    result = run('data_pipeline.py', str(data), '--batch', '2', '--rounds', '1')
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('2x3x640x640') == 2
    result = run('data_pipeline.py', str(tmp_path))
    assert result.returncode != 0 and 'give the folder of a COCO-format data set' in result.stderr


def test_every_client_has_its_function():
    from importlib import import_module

    from benchmarks.clients.measure import places, same_poses, same_rows
    from benchmarks.clients.rows import ROWS
    from mmyolonas.deploy.targets.table import TARGETS
    page = (ROOT / 'docs/en/clients.md').read_text('utf-8')
    for name, row in ROWS.items():
        assert f'`{name}`' in page, f'{name} has no row in docs/en/clients.md'
        assert bool(row.function) != (row.gives == 'file' or row.name == 'rknn')
        if row.function:
            module, _, function = row.function.partition(':')
            assert callable(getattr(import_module(f'benchmarks.clients.{module}'), function))
    assert {row.target for row in ROWS.values()} == {'', *TARGETS} - {'opencv'}
    pythons = {'a': {'opencv-python': '5.0'}, 'b': {'opencv-python-headless': '4.14'},
               'c': {'opencv-python': '5.0', 'mmdet': '3.3.0'}}
    assert places(ROWS['opencv'], pythons, None) == [('a', '5.0'), ('b', '4.14')]
    assert not places(ROWS['mmdet'], pythons, None)  # which needs torch as well
    rows = [[0, 0, 10, 10, 0.9, 1], [20, 20, 40, 40, 0.2, 0]]
    assert same_rows(rows, rows[:1]) == (1, 1, 1) and same_rows([], rows) == (0, 2, 0)
    poses = [[0, 0, 10, 10, 0.9, 1, 2, 3, 4]]
    assert same_poses(poses, poses) == (1, 1, 1)
    assert same_poses([[*poses[0][:-1], 6]], poses) == (0, 1, 1)


def test_four_readers_suppress_as_they_should():
    import numpy as np

    from benchmarks.clients.contracts import suppressed
    rows = np.array([[0, 0, 10, 10, 0.5, 1], [0, 0, 10, 10, 0.9, 1], [0, 0, 10, 10, 0.4, 0],
                     [5, 0, 15, 10, 0.3, 1]])
    assert suppressed(rows, 0.5).tolist() == rows[[1, 2, 3]].tolist()
    assert suppressed(rows, 0.3).tolist() == rows[[1, 2]].tolist()
    assert suppressed(rows[:0], 0.3).shape == (0, 6)
