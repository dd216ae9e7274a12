"""Roboflow 100: its table, folders, runs, reports and sweeps, on generated sets."""
import csv
import errno
import json
import multiprocessing
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR

from mmyolonas.datasets import DataError
from mmyolonas.utils import UserError, stages
from mmyolonas.utils.errors import FullDiskError
from mmyolonas.workflows.rf100 import rf100_run
from mmyolonas.workflows.rf100.rf100 import (
    common_names,
    released_mean,
    rf100_categories,
    rf100_datasets,
)
from mmyolonas.workflows.rf100.rf100_folders import find_datasets, read_splits, shard_of
from mmyolonas.workflows.rf100.rf100_report import read_report, report_text, write_report
from mmyolonas.workflows.rf100.rf100_results import Result, ResultTable
from mmyolonas.workflows.rf100.rf100_sweep import choose_subset
from tests import tiny
from tests.conftest import ROOT
from tests.forked import ForkedTool
from tests.killing import kill_when, start, start_and_read
from tests.run_tool import run_tool

TOOL = 'tools/rf100.py'
COMMON = 94


def write_dataset(root, name, counts=(4, 2, 2), empty_class=True):
    """Write a data set in Roboflow's layout: category 0 without boxes, ids with gaps."""
    for split, count in zip(('train', 'valid', 'test'), counts):
        folder = tiny.write_data(root / name / split, count)
        data = json.loads((folder / 'annotations.json').read_text())
        (folder / 'annotations.json').unlink()
        data['categories'] = [dict(id=0, name='square')] + [
            dict(id=2 * c['id'], name=c['name']) for c in data['categories']]
        if empty_class:
            data['categories'].append(dict(id=9, name='never seen'))
        for annotation in data['annotations']:
            annotation['category_id'] *= 2
            annotation['id'] -= 1  # from 0, as Roboflow counts
        (folder / '_annotations.coco.json').write_text(json.dumps(data))
    return root / name


def edit(path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def shrink(node):
    """Return a pipeline as plain values, for images of 64 pixels."""
    if isinstance(node, dict):
        return {key: shrink(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(shrink(value) for value in node)
    return 64 if node == 640 else node


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The published protocol with a narrow model, small images and no data workers."""
    model = tiny.model_config()
    for part in ('backbone', 'neck', 'bbox_head'):
        model[part].pop('type')
    model['bbox_head'].pop('num_classes')
    pipelines = {}
    template = Config.fromfile(ROOT / 'configs' / 'rf100' / 'yolonas_s_rf100.py')
    for name in ('train_pipeline', 'test_pipeline'):
        pipelines[name] = shrink(template[name])
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(f'''
_base_ = {str(ROOT / 'configs' / 'rf100' / 'yolonas_s_rf100.py')!r}
model = dict(backbone=dict(arch=dict(_delete_=True, **{model['backbone']['arch']!r})),
             neck=dict(arch=dict(_delete_=True, **{model['neck']['arch']!r})),
             bbox_head={model['bbox_head']!r})
train_dataloader = dict(batch_size=128, num_workers=0, persistent_workers=False, pin_memory=False,
                        dataset=dict(dataset=dict(pipeline={pipelines['train_pipeline']!r})))
val_dataloader = dict(num_workers=0, persistent_workers=False, pin_memory=False,
                      dataset=dict(pipeline={pipelines['test_pipeline']!r}))
test_dataloader = dict(num_workers=0, persistent_workers=False, pin_memory=False,
                       dataset=dict(pipeline={pipelines['test_pipeline']!r}))
''')
    return path


# ------------------------------------------------------------------ metadata
def test_table():
    """Against the numbers that the sources give in sum."""
    known = rf100_datasets()
    assert len(known) == 100
    count = {name: sum(d.category == name for d in known.values()) for name in rf100_categories()}
    assert count == {'real world': 50, 'electromagnetic': 12, 'microscopic': 11, 'documents': 8,
                     'aerial': 7, 'videogames': 7, 'underwater': 5}
    assert sum(d.train + d.valid + d.test for d in known.values()) == 224_452
    assert sum(d.listed_classes not in (None, d.classes) for d in known.values()) == 10
    assert known['paper-parts'].classes == 19 and known['paper-parts'].listed_classes == 46
    common = common_names(list(known))
    assert len(common) == COMMON and 'bone-fracture-7fylg' not in common
    means = released_mean(common)
    assert [round(means[m], 4) for m in ('yolov5', 'yolov7', 'yolov8')] == [.7336, .6760, .8007]


def test_protocol():
    """The protocol of reference.md 11.7: lr, batch, decay, EMA, epochs, colour order."""
    for model, lr, batch in (('s', 5e-4, 16), ('m', 4e-4, 12), ('l', 4e-4, 12)):
        cfg = Config.fromfile(ROOT / 'configs' / 'rf100' / f'yolonas_{model}_rf100.py')
        assert cfg.optim_wrapper.optimizer.lr == lr
        assert cfg.optim_wrapper.optimizer.weight_decay == 1e-4
        assert cfg.optim_wrapper.paramwise_cfg.bias_decay_mult == 0
        assert cfg.train_dataloader.batch_size == batch and cfg.train_cfg.max_epochs == 100
        assert cfg.custom_hooks[0].decay == 0.9 and cfg.model.backbone.arch == model
        assert not cfg.model.data_preprocessor.bgr_to_rgb
        assert cfg.default_hooks.checkpoint.save_best == 'coco/bbox_mAP_50'
        assert cfg.optim_wrapper.optimizer.type.endswith('AdamW')
        assert cfg.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
        assert cfg.optim_wrapper.type == 'mmyolonas.AutoAmpOptimWrapper'
        assert [s.scale for s in cfg.test_pipeline if s.type == 'Resize'] == [(640, 640)]
        assert [s.img_scale for s in cfg.train_pipeline if 'img_scale' in s] == [(640, 640)] * 2
        assert cfg.custom_hooks[0].schedule == 'threshold'
        np.testing.assert_allclose(rates(cfg), published_rates(lr), rtol=3e-3)


#: Iterations of an epoch in the comparison of the schedules.
LENGTH = 20


def rates(cfg) -> list:
    """Return the learning rate of each iteration, as the config's schedulers set it."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], cfg.optim_wrapper.optimizer.lr)
    by_epoch, by_step = (dict(item) for item in cfg.param_scheduler)
    assert by_epoch.pop('type') == 'LinearLR' and by_step.pop('type') == 'CosineAnnealingLR'
    assert by_step.pop('convert_to_iter_based')
    schedulers = [LinearLR(optimizer, **by_epoch), CosineAnnealingLR.build_iter_from_epoch(
        optimizer, epoch_length=LENGTH, **by_step)]
    result = []
    for _ in range(100):
        for _ in range(LENGTH):
            result.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return result


def published_rates(rate: float) -> np.ndarray:
    """SuperGradients' formulas (reference.md 11.2), without the remnant of COCO's."""
    epoch, batch = np.divmod(np.arange(100 * LENGTH), LENGTH)
    step = LENGTH * (epoch - 3) + batch
    cosine = rate * (0.1 + 0.45 * (1 + np.cos(np.pi * step / (97 * LENGTH + 1))))
    return np.where(epoch < 3, 1e-6 + (rate - 1e-6) * epoch / 3, cosine)


# ------------------------------------------------------------------- folders
def test_folders(tmp_path):
    folder = write_dataset(tmp_path, 'cells-uyemf')
    splits, classes = read_splits(folder)
    assert classes == ('square', 'disc')  # neither category 0 nor the one without boxes
    assert [len(splits[s].data['images']) for s in ('train', 'val', 'test')] == [4, 2, 2]
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'mitosis-gjs3g').mkdir()  # a download that broke off
    assert find_datasets(tmp_path) == ['cells-uyemf', 'mitosis-gjs3g']
    assert find_datasets(tmp_path, ['cells-uyemf']) == ['cells-uyemf']
    with pytest.raises(UserError, match='no folder nothing'):
        find_datasets(tmp_path, ['nothing'])
    with pytest.raises(UserError, match='holds no data set'):
        find_datasets(tmp_path / 'notes')


@pytest.mark.parametrize('problem,match', [
    ('split', 'has no val split: expected'),
    ('double', "2 categories are called 'disc'.*rename one"),
    ('image', "lists 1 images that do not exist, the first: .*001.png'"),
    ('cut', 'is not complete JSON'),
    ('boxes', 'there is not a single box'),
    ('no valid', "valid/_annotations.coco.json' has no box"),
    ('null', "entry 0 of 'annotations' must be an object.*got '?None"),
    ('odd id', "category_id of entry 0 of 'annotations' must be a number, got '?\\[1\\]"),
])
def test_faulty_folders(tmp_path, problem, match):
    folder = write_dataset(tmp_path, 'größe 1')
    train = folder / 'train' / '_annotations.coco.json'
    if problem == 'split':
        shutil.rmtree(folder / 'valid')
    elif problem == 'double':
        def rename(data):
            data['categories'].append(dict(id=50, name='disc'))
            data['annotations'][0]['category_id'] = 50
        edit(train, rename)
    elif problem == 'image':
        (folder / 'train' / '001.png').unlink()
    elif problem == 'cut':
        train.write_text(train.read_text()[:200])
    elif problem == 'null':
        edit(train, lambda data: data.update(annotations=[None]))
    elif problem == 'odd id':
        edit(train, lambda data: data['annotations'][0].update(category_id=[1]))
    else:
        for split in ('valid', ) if problem == 'no valid' else ('train', 'valid', 'test'):
            edit(folder / split / '_annotations.coco.json', lambda d: d.update(annotations=[]))
    with pytest.raises(DataError, match=match):
        read_splits(folder)


def test_shards_share_everything():
    names = list(rf100_datasets())
    for count in (1, 3, 7, 100, 130):
        parts = [shard_of(names, index, count) for index in range(1, count + 1)]
        assert sorted(sum(parts, [])) == sorted(names)
    known = rf100_datasets()
    loads = [sum(known[name].train for name in shard_of(names, i, 4)) for i in range(1, 5)]
    assert max(loads) < 1.35 * min(loads)
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(UserError, match='1 <= I <= N'):
            shard_of(names, *wrong)


# ---------------------------------------------------------------------- runs
@pytest.fixture
def forked_tools(monkeypatch):
    """Training and test are copies of this process, not new ones that import torch anew."""
    monkeypatch.setattr(stages, 'subprocess', SimpleNamespace(Popen=ForkedTool, PIPE=None,
                                                              STDOUT=None))


def read_csv(path) -> dict:
    with open(path, newline='') as file:
        return {row['dataset']: row for row in csv.DictReader(file)}


@pytest.mark.long
def test_run_and_report(tmp_path, config, forked_tools, capsys):
    """A failing set does not stop the rest; nothing is run twice; names with blanks."""
    root, work = tmp_path / 'my sets', tmp_path / 'work'
    write_dataset(root, 'cells-uyemf')
    broken = write_dataset(root, 'a broken one')
    shutil.move(broken / 'test', tmp_path / 'test aside')
    command = ['run', '--root', root, '--config', config, '--work-dir', work, '--epochs', 1]
    assert run_tool(TOOL, *command) == 1
    text = capsys.readouterr().out
    assert '1 of 2 data sets' in text and 'has no test split' in text
    rows = read_csv(work / 'results.csv')
    good, bad = rows['cells-uyemf'], rows['a broken one']
    assert good['status'] == 'ok' and 0 <= float(good['ap']) <= float(good['ap50']) <= 1
    assert good['category'] == 'microscopic' and good['classes'] == '2'
    assert float(good['train_minutes']) > 0 and float(good['memory_mb']) > 50
    assert bad['status'] == 'failed' and 'has no test split' in bad['message']
    cfg = Config.fromfile(work / 'cells-uyemf' / 'config.py')
    assert cfg.classes == ('square', 'disc') and cfg.model.bbox_head.num_classes == 2
    assert cfg.train_dataloader.dataset.times == 128
    assert list((work / 'cells-uyemf' / 'train').glob('best_coco_bbox_mAP_50_epoch_1.pth'))

    stamp = good['finished']
    shutil.move(tmp_path / 'test aside', broken / 'test')
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rf100_run, 'run_dataset', lambda name, *_: calls.append(name) or Result(
            name, '', 's', 'ok', 0.5, 0.75, train_minutes=2.))
        assert run_tool(TOOL, *command, '--shard', '1/1') == 0
    assert calls == ['a broken one'] and 'done before' in capsys.readouterr().out
    assert read_csv(work / 'results.csv')['cells-uyemf']['finished'] == stamp
    assert list(read_csv(work / 'results_1of1.csv')) == ['a broken one']
    assert run_tool(TOOL, 'report', '--work-dir', work) == 0
    text = capsys.readouterr().out
    assert '| microscopic | 1/11 |' in text and '| not of RF100 | 1/1 | 0.500 | 0.750 |' in text
    assert (work / 'report.png').stat().st_size > 10_000
    assert run_tool(TOOL, *command[:-1], 2) == 1
    assert 'results of another cfg_options' in capsys.readouterr().err


@pytest.mark.long
def test_killed_run_goes_on(tmp_path, config, forked_tools, monkeypatch):
    """kill -9 in the second epoch of a training; the next call continues it."""
    monkeypatch.setattr(rf100_run, '_LEAST_IMAGES', 64)  # 16 steps an epoch
    root, work = tmp_path / 'sets', tmp_path / 'work'
    write_dataset(root, 'cells-uyemf', empty_class=False)
    command = [ROOT / TOOL, 'run', '--root', root, '--config', config, '--work-dir', work,
               '--epochs', 3, '--cfg-options', 'optim_wrapper.optimizer.lr=0.001',
               'custom_hooks.0.decay=0.99']
    # the pointer follows the file; killed in between, training rightly begins anew
    kill_when(start(command), (work / 'cells-uyemf' / 'train' / 'last_checkpoint').exists)
    assert not (work / 'results.csv').exists()
    process = start_and_read(command)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    assert 'resumed epoch' in text
    assert read_csv(work / 'results.csv')['cells-uyemf']['status'] == 'ok'
    for path in (work / 'cells-uyemf' / 'train').glob('*/vis_data/config.py'):
        cfg = Config.fromfile(path)
        assert cfg.optim_wrapper.optimizer.lr == 0.001 and cfg.custom_hooks[0].decay == 0.99


def test_full_disk_keeps_the_table(tmp_path, monkeypatch):
    table = ResultTable(tmp_path / 'results.csv')
    table.add(Result('first', status='ok', ap=0.25))
    before = table.path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    options = rf100_run.RF100Options(tmp_path, tmp_path, config='none')
    monkeypatch.setattr(rf100_run.RF100Options, 'identity', lambda self: {})
    monkeypatch.setattr(rf100_run, 'run_dataset', lambda *_: Result('second', status='ok'))
    monkeypatch.setattr(rf100_run, '_check_identity', lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr('mmyolonas.utils.files._sync', full)
        with pytest.raises(UserError, match='No space left on device.*Make room'):
            rf100_run.run_all(['second'], options)
    assert table.path.read_bytes() == before and not list(tmp_path.glob('.*'))
    assert rf100_run.run_all(['second'], options)['first'].ap == 0.25
    table.path.write_text('dataset,colour\na,red\n')
    with pytest.raises(UserError, match='line 2: not a table of results'):
        ResultTable(table.path)


def test_only_a_full_disk_stops_the_rest(tmp_path, monkeypatch, capsys):
    options = rf100_run.RF100Options(tmp_path, tmp_path, config='none')
    monkeypatch.setattr(rf100_run.RF100Options, 'identity', lambda self: {})
    errors = dict(a=TypeError('odd entry'), b=PermissionError(13, 'Permission denied'),
                  c=FullDiskError('train.py failed: No space left on device. Make room'))
    tried = []

    def fail(name, *_):
        tried.append(name)
        raise errors[name]

    monkeypatch.setattr(rf100_run, 'run_dataset', fail)
    with pytest.raises(UserError, match='No space left on device.*Make room'):
        rf100_run.run_all(['a', 'b', 'c', 'd'], options)
    assert tried == ['a', 'b', 'c']
    rows = read_csv(tmp_path / 'results.csv')
    assert rows['a']['message'] == 'TypeError: odd entry' and rows['b']['status'] == 'failed'
    assert 'c' not in rows
    assert 'failed: TypeError: odd entry' in capsys.readouterr().out


def test_report_means(tmp_path):
    """By hand; the set without a YOLOv8 number does not enter the common means."""
    table = ResultTable(tmp_path / 'results.csv')
    table.add(Result('bccd-ouzjz', 'microscopic', 's', 'ok', 0.6, 0.9, train_minutes=10,
                     memory_mb=500))
    table.add(Result('asbestos', 'microscopic', 's', 'ok', 0.4, 0.5, train_minutes=30,
                     memory_mb=700))
    table.add(Result('cable-damage', 'real world', 's', 'ok', 0.7, 1.0))
    other = ResultTable(tmp_path / 'results_2of2.csv')
    other.add(Result('smoke-uvylj', 'real world', 's', message='no images'))
    (tmp_path / 'asbestos' / 'int8').mkdir(parents=True)
    (tmp_path / 'asbestos' / 'int8' / 'report.json').write_text(json.dumps(dict(rows=[
        dict(name='float', ap=40.), dict(name='int8', ap=30.), dict(name='selective', ap=39.)])))
    report = read_report(tmp_path)
    row = {r.name: r for r in report.categories}['microscopic']
    assert (row.finished, row.total, row.common) == (2, 11, 2)
    assert row.ap == pytest.approx(0.5) and row.common_ap50 == pytest.approx(0.7)
    assert row.released['yolov8'] == pytest.approx((0.927 + 0.631) / 2)
    assert row.int8_ap == pytest.approx(0.39) and row.int8_count == 1
    world = {r.name: r for r in report.categories}['real world']
    assert world.finished == 1 and world.common == 0 and world.released == {}
    assert report.overall.ap50 == pytest.approx(0.8)
    assert report.overall.common_ap50 == pytest.approx(0.7)
    text = report_text(report)
    assert 'INT8 AP' in text and '0.390 (1)' in text and 'S 0.815, M 0.818' in text
    assert 'not among the common ones: cable-damage.' in text and '- smoke-uvylj: no images' in text
    assert '40:00 in all, 0.0 to 30.0 minutes each; largest memory 700 MB' in text
    files = write_report(report, tmp_path / 'out')
    assert all(path.stat().st_size > 100 for path in files)
    rows = read_csv(tmp_path / 'out' / 'report.csv')
    assert rows['asbestos']['yolov5'] == '0.596' and rows['cable-damage']['yolov8'] == ''
    with pytest.raises(UserError, match='holds no results.csv'):
        read_report(tmp_path / 'out')


# --------------------------------------------------------------------- sweep
@pytest.mark.long
def test_sweep(tmp_path, config, monkeypatch, capsys):
    """The grid is gone through once; an interrupted one is continued."""
    pytest.importorskip('optuna')
    root, work = tmp_path / 'sets', tmp_path / 'sweep'
    for name in ('cells-uyemf', 'mitosis-gjs3g', 'phages'):
        write_dataset(root, name)
    seen = []

    def stand_in(name, options, identity, test):
        assert not test
        seen.append((name, options.work_dir.name, options.cfg_options[-3:]))
        if len(seen) == 4:
            raise KeyboardInterrupt
        lr = float(options.cfg_options[-3].split('=')[1])
        return Result(name, valid_ap=0.9 - abs(lr - 1e-3) * 100)

    import mmyolonas.workflows.rf100.rf100_sweep as module
    monkeypatch.setattr(module, 'run_dataset', stand_in)
    command = ['sweep', '--root', root, '--config', config, '--work-dir', work, '--count', 2,
               '--lr', 5e-4, 1e-3, '--wd', 1e-4, '--ema', 0.9, 0.99]
    assert run_tool(TOOL, *command) == 130
    first = [item[1] for item in seen]
    assert first == ['lr0.0005_wd0.0001_ema0.9'] * 2 + ['lr0.0005_wd0.0001_ema0.99'] * 2
    assert seen[0][2] == ['optim_wrapper.optimizer.lr=0.0005',
                          'optim_wrapper.optimizer.weight_decay=0.0001', 'custom_hooks.0.decay=0.9']
    assert run_tool(TOOL, *command) == 0
    text = capsys.readouterr().out
    assert text.count('done before') == 1 and len(seen) == 4 + 6
    assert 'best: --cfg-options optim_wrapper.optimizer.lr=0.001' in text
    assert (work / 'sweep.png').stat().st_size > 5000
    assert '| 0.001 | 0.0001 | 0.9 | 0.9000 |' in (work / 'sweep.md').read_text()
    assert run_tool(TOOL, *command) == 0 and len(seen) == 10
    assert run_tool(TOOL, *command, '--seed', 1) == 1
    assert 'a sweep with other settings' in capsys.readouterr().err


def test_killed_sweep_goes_on(tmp_path, config, monkeypatch):
    """kill -9 in the second training; the first is not repeated, the second is.

    That a killed training goes on, with the settings it was given, is tested above.
    """
    pytest.importorskip('optuna')
    import mmyolonas.workflows.rf100.rf100_sweep as module
    write_dataset(tmp_path / 'sets', 'cells-uyemf', empty_class=False)
    options = rf100_run.RF100Options(tmp_path / 'sets', tmp_path / 'sweep', config=str(config))
    calls, grid = tmp_path / 'calls', dict(lr=[5e-4, 1e-3], wd=[1e-4], ema=[0.99])

    def stand_in(name, own, identity, test):
        with open(calls, 'a') as file:
            file.write(f'{identity["lr"]} ')
        if calls.read_text().split() == ['0.0005', '0.001']:
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(name, valid_ap=identity['lr'])

    monkeypatch.setattr(module, 'run_dataset', stand_in)
    child = multiprocessing.get_context('fork').Process(
        target=module.run_sweep, args=(['cells-uyemf'], options, grid))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    points = module.run_sweep(['cells-uyemf'], options, grid)
    assert calls.read_text().split() == ['0.0005', '0.001', '0.001']
    assert [point.value for point in points] == [0.001, 0.0005]
    assert (tmp_path / 'sweep' / 'sweep.md').read_text().count('| 0.99 |') == 2


def test_subset_is_the_same_for_the_same_seed():
    names = list(rf100_datasets())
    assert choose_subset(names, 6, 0) == choose_subset(names[::-1], 6, 0)
    assert choose_subset(names, 6, 0) != choose_subset(names, 6, 1)
    assert len(choose_subset(names, 200, 0)) == 100


def test_bccd_is_in_this_layout(data_root):
    if not (data_root / 'bccd').is_dir():
        pytest.skip('no BCCD')
    splits, classes = read_splits(data_root / 'bccd')
    assert set(classes) == {'Platelets', 'RBC', 'WBC'}
    assert [len(splits[s].data['images']) for s in ('train', 'val', 'test')] == [205, 87, 72]
