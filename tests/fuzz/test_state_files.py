"""State of this package and files that people write by hand: changed values, changed bytes."""
import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmyolonas.engine.hooks.snapshot_average_hook import read_index
from mmyolonas.quantization.choice.costs import Costs, Estimate, Noise, PlanLoss
from mmyolonas.quantization.choice.latency import LatencyTable
from mmyolonas.quantization.choice.plan import Plan, PlanEntry
from mmyolonas.quantization.report import Report, Row
from mmyolonas.quantization.table import RangeTable
from mmyolonas.search.accuracy.short_training import Training, TrainingLog
from mmyolonas.search.latency.operator_table import OperatorTable
from mmyolonas.search.project import Settings, _check_settings
from mmyolonas.utils.files import read_json
from mmyolonas.utils.journal import Journal
from mmyolonas.utils.stages import Stage, StageRunner
from mmyolonas.visualization.curves import plot_curves, read_log
from mmyolonas.workflows.rf100.rf100_results import Result, ResultTable
from mmyolonas.workflows.rf100.rf100_run import _check_identity
from tests.fuzz.judge import judge, judge_tool
from tests.fuzz.mutate import changed_bytes, changed_value, json_text

PLAN = Plan([PlanEntry('backbone.a', 'int8', 'cheap', 0.1, 0.2), PlanEntry('neck.b', 'float')])
LATENCY = LatencyTable({'a': 1., 'b': 2.}, {'a': 0.5, 'b': 1.}, 0.1, 0.2, 0.3, 'onnxruntime')
RANGES = RangeTable({'a': 1., 'b': 2.}, {'a': [1., 2.]}, 'max', 3)
COSTS = Costs({'t': Noise([1., 2.])}, {'a': Noise([1., 2.]), 'b': Noise([2., 2.])},
              Estimate(0.1, 0., 0.2), [PlanLoss(3, 5., 1., 4.)], 50., 20)
STAGES = dict(options=dict(a=1), stages=dict(make=dict(done=True, seconds=1.5,
                                                       results=dict(x=1.5, y='z'))))
SNAPSHOTS = dict(metric='coco/bbox_mAP', snapshots=[
    dict(file='a.pth', epoch=1, iter=10, value=0.5)])
REPORT = asdict(Report('onnxruntime', [
    Row('float', 'a.onnx', 50., 70., None, 2.), Row('int8', 'b.onnx', 49., 69., [0.5, 1.5], 1.)],
    settings=dict(threads=2)))
RECORDS = [{'iter': 1, 'step': 1, 'loss': 2., 'lr': 0.1}, {'step': 1, 'coco/bbox_mAP': 0.5}]


def files(value):
    """Return changed forms of a JSON file."""
    return st.one_of(changed_value(value).map(json_text), changed_bytes(json_text(value)))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('state')


def _save(path, writer):
    writer(path)
    return json.loads(path.read_text())


def _ranges(path):
    table = RangeTable.load(path)
    table.check(['a'])


def _stages(path):
    runner = StageRunner([Stage('make', 'Making', lambda c: dict(x=1.))], path.parent, dict(a=1))
    runner.load()
    runner.run(None)
    runner.summary('All')


READERS = {
    'plan': ({**asdict(PLAN), 'format': 'mmyolonas-plan/1'}, Plan.load),
    'latency': (asdict(LATENCY), LatencyTable.load),
    'ranges': ({**asdict(RANGES), 'format': 'mmyolonas-ranges/1'}, _ranges),
    'costs': ({**asdict(COSTS), 'format': 'mmyolonas-costs/1'},
              lambda path: Costs.load(path).cost(['t'], ['a'])),
    'operators': (dict(format='mmyolonas-operators/1', target='onnxruntime', machine={}, fits={},
                       operators=[], networks=[]), OperatorTable.load),
    'search': (asdict(Settings('config.py', {'a': 1})), lambda path: read_json(
        path, 'settings', check=_check_settings)),
    'options': (dict(model='s', seed=0), lambda path: _check_identity(
        path.parent, dict(model='s', seed=0))),
    'index': (SNAPSHOTS, lambda path: read_index(path.parent)),
    'stages': (STAGES, _stages),
}


@pytest.mark.parametrize('name', READERS)
@given(data=st.data())
def test_readers(place, name, data):
    value, read = READERS[name]
    folder = place / name
    folder.mkdir(exist_ok=True)
    path = folder / f'{name}.json'
    path.write_bytes(data.draw(files(value)))
    judge(name, lambda: read(path))


@pytest.mark.parametrize('name', READERS)
def test_sound_files_are_read(place, name):
    """Otherwise the properties above would hold for a reader that refuses everything."""
    value, read = READERS[name]
    folder = place / f'sound_{name}'
    folder.mkdir()
    path = folder / f'{name}.json'
    path.write_bytes(json_text(value))
    read(path)


@given(st.lists(changed_value(RECORDS[0]).map(json_text)
                | changed_bytes(b'\n'.join(map(json_text, RECORDS))), max_size=5))
def test_logs(place, lines):
    path = place / 'scalars.json'
    path.write_bytes(b'\n'.join(lines))

    def draw():
        log = read_log(path)
        plot_curves(dict(a=log), place / 'curves.png')

    judge('log', draw)


@given(st.lists(changed_value(asdict(Training('k', {'a': 1}, 0, 'r', 'random'))).map(json_text)
                | changed_value(dict(begun=['k', 0, 'r'])).map(json_text)
                | changed_value(dict(interrupted=['k', 0, 'r'])).map(json_text)
                | st.binary(max_size=60), max_size=5))
def test_trainings(place, lines):
    folder = place / 'trainings'
    folder.mkdir(exist_ok=True)
    head = json_text(dict(format='mmyolonas-short-trainings/1'))
    (folder / 'trainings.jsonl').write_bytes(b'\n'.join([head, *lines]))
    judge('journal', lambda: TrainingLog.read(folder))


@given(st.lists(st.binary(max_size=40) | changed_value(dict(n=1)).map(json_text), max_size=6),
       st.booleans())
def test_journals(place, lines, whole):
    """Whatever lies between, the records that can be read are read, in order."""
    path = place / 'a.jsonl'
    path.unlink(missing_ok=True)
    with Journal(path, dict(a=1)) as journal:
        journal.write(dict(n='first'))
    with open(path, 'ab') as file:
        file.write(b'\n'.join(line.replace(b'\n', b' ') for line in lines) + b'\n' * whole)

    def use():
        with Journal(path, dict(a=1)) as journal:
            journal.write(dict(n='last'))
            return list(journal)

    found = judge('journal', use)
    assert found[0] == dict(n='first') and found[-1] == dict(n='last')



@given(data=st.data())
def test_tables_of_results(place, data):
    path = place / 'results.csv'
    if not hasattr(test_tables_of_results, 'sound'):
        path.unlink(missing_ok=True)
        ResultTable(path).add(Result('ring', 'aerial', 's', 'ok'))
        test_tables_of_results.sound = path.read_bytes()
    path.write_bytes(data.draw(changed_bytes(test_tables_of_results.sound)))
    judge('results.csv', lambda: ResultTable.merged(place).rows)


@given(files(REPORT))
def test_reports(place, data):
    (place / 'report.json').write_bytes(data)
    judge_tool('report', 'tools/analysis_tools/quantization_report.py', place / 'report.json',
               '--out', place / 'report.png')
