"""tools/search.py from the space to the report, with trainings that end at once."""
import json

import pytest
from mmengine.registry import MODELS, init_default_scope

from mmyolonas.runtime.timing import Latency
from mmyolonas.search import preparation, project
from mmyolonas.search.accuracy import short_training
from mmyolonas.search.accuracy.evaluation import structure
from mmyolonas.search.latency.operator_measurement import measure_table
from mmyolonas.search.report import handover
from mmyolonas.search.space.space import Space
from mmyolonas.search.study.verify import measure_models
from mmyolonas.utils.configs import load_config
from tests import tiny
from tests.run_tool import run_tool

TOOL = 'tools/search.py'
#: Two values of every choice, the smallest: what is built, trained and exported is narrow.
FIX = ['--fix', *(f'{gene.name}={",".join(map(str, gene.values[:2]))}'
                  for gene in Space('detection', (64, )).genes if gene.name != 'input_size')]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe on drawn images, whose trainings only look at the architecture."""
    cfg = tiny.config(tiny.write_data(tmp_path / 'data', 8), tmp_path / 'work', epochs=1)
    cfg.update(img_scale=(64, 64))
    cfg['train_cfg'].update(val_interval=1)

    def train(recipe, architecture, seed, work_dir):
        deep = sum(stage['num_blocks'] for stage in architecture['backbone']['stages'])
        ap = 0.2 + 0.01 * deep + 1e-4 * architecture['backbone']['stem_channels']
        return dict(ap=ap, ap50=1.5 * ap, halves=dict(select=ap, report=ap))

    def measure(models, *args, path, **kwargs):
        # the list is that of the tool, the table one of a narrow network, which is quick
        assert [entry[0] for entry in models[:3]] == [f'published {n}' for n in 'sml']
        init_default_scope('mmdet')
        model = MODELS.build(tiny.model_config())
        return measure_table([('tiny', model, 64)], *args, path=path, repeats=2, **kwargs)

    def time_models(space, genomes, *args):
        return {name: Latency([1. + index, 2. + index, 3. + index])
                for index, name in enumerate(genomes)}

    monkeypatch.setattr(project, '_BLOCK', 13)
    monkeypatch.setattr(project, '_DRAWN', 2)
    monkeypatch.setattr(short_training, 'train_architecture', train)
    monkeypatch.setattr(preparation, 'measure_table', measure)
    monkeypatch.setattr(handover, 'measure_models', time_models)
    return tiny.write_config(tmp_path / 'recipe.py', cfg)


@pytest.mark.long
def test_all_steps(recipe, tmp_path, capsys):
    folder = tmp_path / 'search'
    about = ['--recipe', recipe, '--input-sizes', 64, *FIX, '--work-dir', folder]
    small = ['--networks', 1, '--count', 12, '--scores', '--budget', 6, '--seeds', 2,
             '--population', 4, '--leaders', 1, '--points', 1, '--repeats', 1]
    assert run_tool(TOOL, 'run', *about, *small, '--limit', 5) == 0, capsys.readouterr().err
    assert '5 of 13 trainings are done' in capsys.readouterr().out
    assert not (folder / 'rungs.json').exists()
    assert run_tool(TOOL, 'run', '--work-dir', folder, *small) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    assert 'found s' in text and 'published s' in text and 'hypervolume' in text
    verified = json.loads((folder / 'verified_onnxruntime-int8.json').read_text())
    keys = [row['key'] for row in verified]
    assert len(keys) == len(set(keys))
    limit = next(row['median_ms'] for row in verified if row['name'] == 'published l')
    best = max((row for row in verified if row['aps'] and row['median_ms'] <= limit
                and not row['name'].startswith('published')), key=lambda row: row['aps'][0])
    found = load_config(str(folder / 'configs' / 'yolonas_l_onnxruntime-int8_trained.py'))
    tasks = {t['key']: t['genome'] for t in map(json.loads, (
        folder / 'trainings.jsonl').read_text().splitlines()) if 'genome' in t}
    assert found.model.backbone.arch.stem_channels == tasks[best['key']]['stem']
    rungs = json.loads((folder / 'rungs.json').read_text())
    assert rungs['trainings'] == 12 and rungs['fitted'] == 13
    assert {r['name'] for r in rungs['rungs']} >= {
        'params', 'flops', 'entropy', 'surrogate', 'inherited'}
    for name in ('hypervolume_onnxruntime-int8.png', 'frontier_onnxruntime-int8.png',
                 'rungs.png', 'points_onnxruntime-int8.csv', 'report_onnxruntime-int8.md'):
        assert (folder / name).stat().st_size > 200, name
    rows = (folder / 'points_onnxruntime-int8.csv').read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * 6
    cfg = load_config(str(folder / 'configs' / 'yolonas_l_onnxruntime-int8.py'))
    assert cfg.model.bbox_head.num_classes == 2 and 'stages' in cfg.model.neck.arch
    report = (folder / 'report_onnxruntime-int8.md').read_text()
    assert 'What was not done' in report and '| nsga2 | 2 |' in report
    # it is an ordinary config
    assert run_tool('tools/train.py', folder / 'configs' / 'yolonas_s_onnxruntime-int8.py',
                    '--work-dir', tmp_path / 'full') == 0
    assert (tmp_path / 'full' / 'last_checkpoint').is_file()
    capsys.readouterr()
    # another target from the same trainings; a latency to be kept
    again = ['--work-dir', folder, '--precision', 'fp32', '--scores', '--budget', 4, '--seeds',
             1, '--population', 4, '--samplers', 'nsga2', '--target-ms', 1000]
    assert run_tool(TOOL, 'search', *again) == 0
    assert '1000ms: ' in capsys.readouterr().out
    assert run_tool(TOOL, 'report', '--work-dir', folder) == 0
    report = (folder / 'report_onnxruntime-int8.md').read_text()
    assert '| onnxruntime-fp32 |' in report and (folder / 'targets.png').is_file()


def test_networks_are_timed_at_their_own_size():
    space = Space('detection', (64, 96))
    genome = {gene.name: gene.values[0] for gene in space.genes}
    times = measure_models(space, dict(a=genome, b=dict(genome, input_size=96)), 2,
                           'onnxruntime', 'fp32', repeats=3)
    assert 0 < times['a'].best <= times['a'].median and times['b'].best > 0


def bad(capsys, *arguments) -> str:
    assert run_tool(TOOL, *arguments) == 1
    return capsys.readouterr().err


@pytest.mark.long
def test_bad_input(recipe, tmp_path, capsys):
    folder = tmp_path / 'search'
    assert 'begin one with --recipe' in bad(capsys, 'train', '--work-dir', folder)
    about = ['--recipe', recipe, '--input-sizes', 64, *FIX, '--work-dir', folder]
    assert "unknown target 'abacus'; choose one of onnxruntime" in bad(
        capsys, 'latency', *about, '--target', 'abacus')
    assert '--shard takes I/N' in bad(capsys, 'train', *about, '--shard', '3')
    assert 'measure one with tools/search.py latency' in bad(capsys, 'search', *about)
    assert 'nothing was searched for onnxruntime-int8 yet' in bad(capsys, 'verify', *about)
    assert 'another --work-dir' in bad(
        capsys, 'train', '--work-dir', folder, '--input-sizes', '96')
    assert 'multiples of 32' in bad(capsys, 'space', '--input-sizes', 100)
    table = tmp_path / 'table.json'
    table.write_text('{}')
    assert run_tool(TOOL, 'train', *about, '--count', 12, '--max-size', 9) == 1  # other settings
    capsys.readouterr()
    assert 'is no table of operator latencies' in bad(
        capsys, 'search', *about, '--scores', '--table', table)
    assert run_tool(TOOL, 'latency', *about, '--networks', 1) == 0
    assert 'say nothing about a rung' in bad(capsys, 'search', *about)


def test_space_is_shown_and_written(tmp_path, capsys):
    assert run_tool(TOOL, 'space', '--input-sizes', 320, '--sample', 2, '--write', tmp_path) == 0
    text = capsys.readouterr().out
    assert str(Space('detection', (320, )).size) in text and 'random1: stem' in text
    cfg = load_config(str(tmp_path / 's.py'))
    assert set(cfg) == {'model'} and cfg.model.bbox_head.feat_channels == [64, 128, 256]
    space = Space('detection', (320, ))
    assert structure(space, space.published('s'), 80).params == 12_167_580
