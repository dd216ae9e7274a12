"""What a search hands over: the choice among leaders, trainings with seeds, the whole way."""
import json

import pytest
import torch

from mmyolonas.search.accuracy.evaluation import Point
from mmyolonas.search.project import Project, Settings
from mmyolonas.search.report.handover import Verified, dominating
from mmyolonas.search.report.report import verified_text
from mmyolonas.search.space.architecture import build
from mmyolonas.search.study.frontier import choose
from mmyolonas.utils import UserError
from tests import tiny
from tests.run_tool import run_tool
from tests.test_search.test_supernet import small_space, tiny_recipe


def points(*pairs) -> list:
    return [Point(dict(place=place), ap, ms, 1., 1, 2) for place, (ap, ms) in enumerate(pairs)]


def test_the_best_in_int8_among_the_leaders_is_chosen():
    found = points((30, 2.), (29, 1.9), (28, 1.), (31, 3.))
    assert choose(found, dict(a=2.5))[0].point is found[0]
    int8 = {0: 10., 1: 20., 2: 25., 3: 99.}
    asked = []

    def rank(point):
        asked.append(point.genome['place'])
        return int8[point.genome['place']]

    assert choose(found, dict(a=2.5), 2, rank)[0].point is found[1]
    assert asked == [0, 1]  # no file is made of the others
    with pytest.raises(UserError, match='the fastest takes 1.000 ms'):
        choose(found, dict(a=0.5))


def test_seeds_follow_each_other(monkeypatch):
    project = Project.__new__(Project)
    project.settings = Settings('')
    genomes = [dict(stem=24), dict(stem=32)]
    monkeypatch.setattr(Project, 'sample', lambda self, count: genomes[:count])
    monkeypatch.setattr(Project, 'published', lambda self: dict(s=dict(stem=48)))
    tasks = project.tasks(2, ['s'], 2)
    assert [(t.genome['stem'], t.seed, t.origin) for t in tasks] == [
        (24, 0, 'random'), (32, 0, 'random'), (48, 0, 'published s'),
        (24, 1, 'random'), (32, 1, 'random'), (48, 1, 'published s')]
    assert project.tasks(2, ['s']) == tasks[:3]


def test_what_chose_is_not_what_is_reported():
    row = Verified('found s', 'key', 1., 2., 1.5, 20., [10., 12.], 1, 2, [30., 32.])
    rival = Verified('published s', 'other', 1., 2.5, 2., None, [12.], 1, 2, [1.])
    assert (row.ap, row.select_ap) == (11, 31)
    assert dominating([row, rival]) == []
    text = verified_text([row, rival])
    assert '11.0 (10.0, 12.0)' in text and '2.000' in text and '1.500' not in text


@pytest.mark.slow
def test_the_whole_way_with_a_supernet(tmp_path, capsys):
    space, recipe = small_space(), tiny_recipe(tmp_path)
    work = tmp_path / 'search'
    fix = [f'{gene.name}={",".join(map(str, gene.values))}' for gene in space.genes
           if gene.name != 'input_size']

    def run() -> str:
        assert run_tool(
            'tools/search.py', 'run', '--work-dir', work, '--recipe', recipe.path,
            '--input-sizes', 64, '--fix', *fix, '--networks', 3, '--count', 0, '--budget', 6,
            '--seeds', 1, '--population', 4, '--samplers', 'nsga2', '--target-ms', 1000,
            '--max-ms', 1000, '--points', 1, '--rivals', '--repeats', 5) == 0
        return capsys.readouterr().out

    text = run()
    assert 'How well that ranks' in text and '| found 1000ms |' in text
    chosen, = json.loads((work / 'chosen_onnxruntime-int8.json').read_text())
    assert {'accuracy', 'report_ap', 'report_int8_ap'} <= set(chosen)
    genome = {gene.name: chosen['genome'][gene.name] for gene in space.genes}
    state = torch.load(work / 'configs' / 'yolonas_1000ms_onnxruntime-int8.pth')['state_dict']
    build(space.decode(genome), len(tiny.CLASSES)).load_state_dict(state, strict=True)
    verified = json.loads((work / 'verified_onnxruntime-int8.json').read_text())
    assert all(row['median_ms'] > 0 for row in verified)
    found = [row for row in verified if row['name'] == 'found 1000ms']
    assert len(found) == 1 and len(found[0]['aps']) == len(found[0]['select_aps']) == 1
    assert 'Trained and timed' in (work / 'report_onnxruntime-int8.md').read_text()
    before = {name: (work / name).read_bytes() for name in (
        'supernet/finished', 'trainings.jsonl', 'inherited.jsonl')}
    assert '| found 1000ms |' in run()
    assert all((work / name).read_bytes() == value for name, value in before.items())
