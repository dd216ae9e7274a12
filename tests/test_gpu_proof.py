"""The program for a GPU: its engine on made-up items, and every stage at a tiny size on the CPU."""
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks import gpu_wheels
from benchmarks.common import Worker
from benchmarks.gpu.engine import Clock, Engine
from benchmarks.gpu.items import Item, Settings, Skip
from benchmarks.gpu.report import write_report
from benchmarks.gpu.results import StageResults
from benchmarks.gpu.stages import STAGES, Stage
from benchmarks.gpu.verdict import verdict
from mmyolonas.utils import UserError

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / 'benchmarks' / 'gpu.py'
SCRIPT = '''
import os, sys, time
from benchmarks.common import serve

def run(stage, key):
    print('chatter', key)
    if key.startswith('fail'):
        raise ValueError('no such luck')
    if key.startswith('die'):
        os._exit(3)
    if key.startswith('hang'):
        time.sleep(60)
    if key.startswith('skip'):
        return dict(status='skipped', reason='lacks a thing')
    return dict(status='done', result=dict(stage=stage, key=key))

serve(lambda: dict(machine=lambda: dict(device='made up'), run=run))
'''


class MadeUp(Stage):
    """A stage of items by name."""

    def items(self, settings):
        return [Item(name, 0.) for name in self.title.split()]


@pytest.fixture
def engine(tmp_path):
    script = tmp_path / 'worker.py'
    script.write_text(SCRIPT)
    starts = []

    def start(settings, log):
        starts.append(log)
        return Worker('made up', sys.executable, [str(script)], log=log)

    def make(seconds=30., **options):
        settings = Settings(rehearse=True, scratch=str(tmp_path / 'scratch'))
        made = Engine(settings, tmp_path / 'out', 1, start=start,
                      clock=Clock(seconds + 5), **options)
        made.starts = starts
        return made

    return make


def items_of(tmp_path, stage):
    return json.loads((tmp_path / 'out' / f'gpu-{stage}.json').read_text())['items']


def test_an_item_that_fails_costs_itself_alone(engine, tmp_path):
    stages = [MadeUp('first', 'a fail die skip b', 1), MadeUp('second', 'c', 1)]
    made = engine()
    made.run(stages)
    found = items_of(tmp_path, 'first')
    assert {key: item['status'] for key, item in found.items()} == dict(
        a='done', fail='failed', die='failed', skip='skipped', b='done')
    assert found['b']['result'] == dict(stage='first', key='b')
    assert 'no such luck' in found['fail']['reason'] and 'exit code 3' in found['die']['reason']
    assert items_of(tmp_path, 'second')['c']['status'] == 'done'
    assert len(made.starts) == 3  # one, and one more after each item that failed
    assert 'chatter a' in (tmp_path / 'out' / 'gpu-log.txt').read_text()
    # the second run tries again what failed and what was lacking, and nothing else
    made.run(stages)
    found = items_of(tmp_path, 'first')
    assert [found[key]['attempts'] for key in ('a', 'fail', 'die', 'b')] == [1, 2, 2, 1]
    results = StageResults(tmp_path / 'out', 'first', True)
    assert [item.key for item in results.open(stages[0].items(None))] == ['skip']


def test_an_item_that_outlasts_its_time_is_stopped_and_not_begun_in_less(engine, tmp_path):
    stage = MadeUp('only', 'hang a', 1)
    begin = time.monotonic()
    engine(30, limits=dict(only=0.05)).run([stage])
    assert time.monotonic() - begin < 20
    found = items_of(tmp_path, 'only')
    assert found['hang']['status'] == 'stopped' and 'a' not in found
    results = StageResults(tmp_path / 'out', 'only', True)
    assert [item.key for item in results.open(stage.items(None))] == ['a', 'hang']
    assert results.needs(Item('hang', 1.), 1.) > 3  # more than it had
    assert results.needs(Item('a', 7.), 1.) == 7


def test_report_names_what_did_not_pass(tmp_path):
    results = StageResults(tmp_path, 'sanity', False)
    results.write(Item('a'), 'done', 1., {}, result=dict(passed=True, error=0.1))
    results.write(Item('b'), 'done', 1., {}, result=dict(passed=False))
    results.write(Item('c'), 'failed', 1., {}, reason='Traceback\nValueError: x|y')
    assert write_report(tmp_path) == (
        'sanity: 2 of 3 begun items done; NOT PASSED: b, c')
    page = (tmp_path / 'report.md').read_text()
    assert 'ValueError: x' in page and 'error 0.1' in page and 'rehearsal' not in page


def test_two_runs_do_not_write_to_one_folder(engine, tmp_path):
    (tmp_path / 'out').mkdir()
    with FileLock(tmp_path / 'out' / '.lock'), pytest.raises(
            UserError, match='another process is writing to'):
        engine().run([MadeUp('only', 'a', 1)])
    assert not (tmp_path / 'out' / 'gpu-only.json').exists()


def test_time_that_a_stage_leaves_goes_to_the_next(engine):
    made = engine(100)
    stages = [MadeUp('x', 'a', 1), MadeUp('y', 'a', 3)]
    assert made._limit(stages[0], stages) == pytest.approx(25, abs=1)
    assert made._limit(stages[1], stages[1:]) == pytest.approx(100, abs=1)


def test_time_counts_from_the_start_of_the_program():
    assert Clock(100, begun=time.monotonic() - 30).left == pytest.approx(65, abs=1)
    assert Clock(100).left == pytest.approx(95, abs=1)


def test_result_files_of_others_are_refused(tmp_path):
    (tmp_path / 'gpu-sanity.json').write_text('{"format": "another"}')
    with pytest.raises(UserError, match='is no result file of this program'):
        StageResults(tmp_path, 'sanity', False)
    (tmp_path / 'gpu-sanity.json').write_text('{"format"')
    with pytest.raises(UserError, match='is no result file of this program'):
        StageResults(tmp_path, 'sanity', False)
    StageResults(tmp_path, 'speed', True).write(Item('a'), 'done', 1., {})
    with pytest.raises(UserError, match='is a rehearsal, and this run is a measurement'):
        StageResults(tmp_path, 'speed', False)


def test_machines_are_told_apart(tmp_path):
    results = StageResults(tmp_path, 'speed', False)
    for key, card in (('a', 'one'), ('b', 'two'), ('c', 'one')):
        results.write(Item(key), 'done', 1., dict(device=card))
    state = StageResults(tmp_path, 'speed', False).state
    assert [item['machine'] for item in state['items'].values()] == [
        'machine 1', 'machine 2', 'machine 1']


def test_no_number_passes_no_tolerance():
    assert verdict(dict(a=0.1), dict(a=0.1))['passed']
    assert not verdict(dict(a=float('nan')), dict(a=1.))['passed']
    assert not verdict(dict(a=0.1, b=2.), dict(a=1., b=1.))['passed']


@pytest.mark.parametrize('arguments, message', [
    ([], 'give --out'),
    (['--out', '{tmp}', '--minutes', '0'], '--minutes must be above 0'),
    (['--out', '{tmp}', '--quick'], 'give --rehearse as well'),
    (['--out', '{tmp}', '--rehearse', '--limit', 'speed=x'], '--limit takes STAGE=MINUTES'),
    (['--out', '{tmp}', '--rehearse', '--items', 'ema', 'x'], "has an item 'x'; there are fixt"),
    (['--out', '{old}', '--rehearse'], '--resume goes on with them')])
def test_wrong_options_get_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    from mmyolonas.utils.cli import run_main
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'gpu-sanity.json').write_text('{}')
    arguments = [a.format(tmp=tmp_path / 'new', old=tmp_path / 'old') for a in arguments]
    monkeypatch.setattr(sys, 'argv', ['gpu.py', *arguments])
    import importlib.util
    spec = importlib.util.spec_from_file_location('gpu_program', PROGRAM)
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    spec.loader.exec_module(program)
    with pytest.raises(SystemExit) as end:
        run_main(program.main)
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 1 and len(lines) == 1 and message in lines[0]


# ------------------------------------------------------------------ the wheels
def test_wheels_are_cut_and_joined(tmp_path, capsys):
    content = bytes(range(256)) * 5000
    wheel = tmp_path / 'thing-1-py3-none-any.whl'
    wheel.write_bytes(content)
    gpu_wheels.cut(wheel, 0.5)
    assert not wheel.exists() and len(list(tmp_path.glob('part*'))) == 3
    (tmp_path / 'joined').mkdir()
    joined, = gpu_wheels.join([tmp_path / f'part{i}' for i in (2, 0, 1)], tmp_path / 'joined')
    assert joined.read_bytes() == content and joined.name == wheel.name
    with pytest.raises(SystemExit, match='lacks a part'):
        gpu_wheels.join([tmp_path / 'part0', tmp_path / 'part2'], tmp_path / 'joined')
    gpu_wheels.show(tmp_path, 0.2)
    assert '(more than 0.2)' in capsys.readouterr().out


def test_list_of_wheels(tmp_path):
    lists = gpu_wheels.read_list(gpu_wheels.LIST)
    assert {'base', 'tensorrt-rtx', 'onnxruntime-gpu'} == set(lists)
    assert any(line.startswith('mmdet==') for line in lists['base'])
    (tmp_path / 'list.txt').write_text('mmdet>=3\n')
    with pytest.raises(SystemExit, match='line 1: expected NAME==VERSION'):
        gpu_wheels.read_list(tmp_path / 'list.txt')


# --------------------------------------------------------------- the stages
@pytest.fixture
def settings(tmp_path):
    return Settings('cpu', True, str(tmp_path / 'data'), str(tmp_path / 'scratch'), 1, quick=True)


def test_every_stage_has_items_of_its_own(settings):
    for rehearse in (False, True):
        settings.rehearse, settings.quick = rehearse, False
        for stage in STAGES.values():
            keys = [item.key for item in stage.items(settings)]
            assert keys and len(set(keys)) == len(keys), stage.name


@pytest.mark.long
def test_sanity_finds_a_wrong_device(settings, monkeypatch):
    from benchmarks.gpu import sanity
    found = sanity.run('model/pose_n', settings)
    assert found['passed'] and found['fp32']['gradients'] == 0
    assert 0 < found['bf16']['outputs'] < 0.05

    def wrong(model, images):
        return {name: 1.001 * value for name, value in decoded(model, images).items()}

    decoded = sanity.decoded
    calls = iter(range(100))
    monkeypatch.setattr(sanity, 'decoded', lambda *args: (
        decoded if next(calls) == 0 else wrong)(*args))
    assert not sanity.run('model/pose_n', settings)['fp32']['passed']


def test_ema_and_skips(settings):
    from benchmarks.gpu import sanity, search
    assert sanity.run('ema', settings)['passed']
    with pytest.raises(Skip, match='there is no data set bccd'):
        settings.data_set('bccd')
    settings.scratch = str(Path(settings.scratch))
    with pytest.raises(Skip, match='needs the package tensorrt|cannot be measured here'):
        search.run('operators/tensorrt', settings)


def test_arms_differ_in_what_is_asked_alone(settings, data_root):
    from benchmarks.gpu.accuracy_configs import Arm, make_config
    settings.data = str(data_root)
    plain = make_config(Arm('bccd', 's', 1, 4), settings)
    taught = make_config(Arm('bccd', 's', 1, 4, teacher=Path('/x/m/epoch_4.pth')), settings)
    assert taught.custom_hooks.pop(-1)['teacher']['config'] == '/x/m.py'
    assert plain.to_dict() == taught.to_dict()
    tuned, qat = (make_config(Arm('bccd', 's', 1, 2, start=Path('s.pth'), qat=q), settings)
                  for q in (False, True))
    for key in ('lr', 'weight_decay'):
        assert tuned.optim_wrapper.optimizer[key] == qat.optim_wrapper.optimizer[key]
    assert tuned.optim_wrapper.type == qat.optim_wrapper.type == 'OptimWrapper'
    for name in ('train_dataloader', 'param_scheduler', 'train_cfg', 'randomness'):
        assert tuned[name] == qat[name], name
    kinds = [[hook.type for hook in cfg.custom_hooks] for cfg in (tuned, qat)]
    assert not any('EMA' in kind for kind in kinds[0] + kinds[1])
    boards = make_config(Arm('deeppcb', 'm', 0, 1), settings)
    assert boards.model.bbox_head.num_classes == 6 and boards.model.neck.arch == 'm'
    assert len(json.loads(Path(boards.test_dataloader.dataset.ann_file).read_text())[
        'images']) == 100


def test_what_a_stage_keeps_running_ends_with_it(settings, monkeypatch):
    from benchmarks.gpu import latency, search, speed
    from benchmarks.gpu.worker import handlers
    for module in (latency, search, speed):
        monkeypatch.setattr(module, 'run', lambda key, settings: key)
    speed._workers['x'] = worker = Worker('x', sys.executable, ['-c', 'input()'])
    run = handlers(settings)['run']
    assert run('latency', 'a') == dict(status='done', result='a')
    run('speed', 'a')
    run('speed', 'b')
    assert worker.process.poll() is None
    run('search', 'a')
    assert worker.process.poll() is not None and not speed._workers


@pytest.mark.long
def test_rehearsal_of_some_items(tmp_path):
    """The program itself, a short item of each stage whose items need no training."""
    chosen = dict(sanity=['ema'], tensorrt=['tried'])
    keys = [key for found in chosen.values() for key in found]
    result = subprocess.run(
        [sys.executable, str(PROGRAM), '--rehearse', '--quick', '--minutes', '9', '--out',
         str(tmp_path / 'out'), '--scratch', str(tmp_path / 'scratch'), '--workers', '1',
         '--items', *keys], text=True, capture_output=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    for name, keys in chosen.items():
        state = json.loads((tmp_path / 'out' / f'gpu-{name}.json').read_text())
        assert state['rehearsal'] and {k: v['status'] for k, v in state['items'].items()} == (
            dict.fromkeys(keys, 'done')), state['items']
    assert 'NOT PASSED' not in result.stdout
    report = (tmp_path / 'out' / 'report.md').read_text()
    assert report.count('A rehearsal at a tiny size') == len(chosen)


@pytest.mark.slow
@pytest.mark.parametrize('stages', [('sanity', 'latency', 'tensorrt', 'search'), ('speed', ),
                                    ('accuracy', )])
def test_whole_rehearsal(tmp_path, data_root, stages):
    result = subprocess.run(
        [sys.executable, str(PROGRAM), '--rehearse', '--minutes', '60', '--out',
         str(tmp_path / 'out'), '--scratch', str(tmp_path / 'scratch'), '--data', str(data_root),
         '--workers', '1', '--stages', *stages], text=True, capture_output=True, timeout=3600)
    assert result.returncode == 0, result.stderr[-3000:]
    for name in stages:
        state = json.loads((tmp_path / 'out' / f'gpu-{name}.json').read_text())
        wrong = {key: item.get('reason') for key, item in state['items'].items()
                 if item['status'] not in ('done', 'skipped')
                 or not item.get('result', {}).get('passed', True)}
        assert state['rehearsal'] and not wrong, wrong
        settings = Settings(rehearse=True)
        assert set(state['items']) == {item.key for item in STAGES[name].items(settings)}
    assert (tmp_path / 'out' / 'report.md').read_text().count('A rehearsal at a tiny size') == len(
        stages)
