"""Teacher, pseudo-labels, student: the configs and the script, with a narrow model."""
import json

import pytest
import torch
from mmengine.config import Config

from mmyolonas.utils.stages import Stage
from tests import tiny
from tests.conftest import ROOT
from tests.run_tool import run_tool
from tests.test_workflows.test_rf100 import edit, write_dataset

SCRIPT = 'benchmarks/pseudo_labels.py'


@pytest.fixture
def data(tmp_path):
    """A data set with the class names of BCCD."""
    folder = write_dataset(tmp_path / 'my data', 'cells', (10, 3, 2))
    names = {0: 'cells', 2: 'RBC', 4: 'WBC', 9: 'Platelets'}
    for split in ('train', 'valid', 'test'):
        edit(folder / split / '_annotations.coco.json', lambda data: data.update(
            categories=[dict(id=c['id'], name=names[c['id']]) for c in data['categories']]))
    return folder


@pytest.fixture
def configs(tmp_path):
    """The configs with a narrow model, four steps and no data workers."""
    folder = tmp_path / 'configs'
    folder.mkdir()
    model = tiny.model_config()
    head = {key: model['bbox_head'][key] for key in ('in_channels', 'feat_channels')}
    for name in ('teacher', 'student'):
        file = f'yolonas_s_bccd_{name}.py'
        (folder / file).write_text(f'''
_base_ = {str(ROOT / 'configs' / 'pseudo_labels' / file)!r}
model = dict(backbone=dict(arch=dict(_delete_=True, **{model['backbone']['arch']!r})),
             neck=dict(arch=dict(_delete_=True, **{model['neck']['arch']!r})), bbox_head={head!r})
train_cfg = dict(max_iters=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
train_dataloader = dict(num_workers=0, persistent_workers=False)
''')
    return folder


@pytest.mark.slow
def test_chain(data, configs, tmp_path, capsys):
    work = tmp_path / 'work dir'
    command = ['--data', data, '--configs', configs, '--work-dir', work, '--score-thr', 0.004,
               '--ignore-above', 0.001]
    assert run_tool(SCRIPT, *command) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    labelled, hidden, pseudo = (json.loads((work / f'{n}.json').read_text())
                                for n in ('labelled', 'hidden', 'pseudo'))
    assert len(labelled['images']) == 2 and len(hidden['images']) == len(pseudo['images']) == 8
    assert not {i['file_name'] for i in labelled['images']} & {
        i['file_name'] for i in pseudo['images']}
    assert pseudo['annotations'] and all('score' in a for a in pseudo['annotations'])
    state = json.loads((work / 'stages.json').read_text())['stages']
    for name in ('teacher_test', 'student_test', 'ignoring_test'):
        assert 0 <= state[name]['results']['AP'] <= 1
    assert 0 <= state['label']['results']['precision'] <= 1
    assert '| Student on the test images |' in text
    student = torch.load(next((work / 'student').glob('best_*.pth')))
    assert student['meta']['dataset_meta']['classes'] == ('Platelets', 'RBC', 'WBC')
    # nothing is repeated
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmyolonas.utils.stages.StageRunner._run', _refuse)
        assert run_tool(SCRIPT, *command) == 0
    # two more stages go on from the teacher, with one source and with both
    assert run_tool(SCRIPT, *command, '--go-on') == 0, capsys.readouterr().err
    for name, sources, regions in (('teacher_on', 1, None), ('student_on', 2, None),
                                   ('ignoring_on', 2, 'class')):
        cfg = Config.fromfile(work / f'{name}_config.py')
        assert cfg.load_from == state['teacher']['results']['checkpoint']
        assert len(cfg.train_dataloader.dataset.get('datasets', [None])) == sources
        assert cfg.model.bbox_head.get('ignored_regions') == regions
    state = json.loads((work / 'stages.json').read_text())['stages']
    assert 0 <= state['student_on_test']['results']['AP'] <= 1
    assert run_tool(SCRIPT, *command, '--share', 1.5) == 1
    assert '--share must lie between 0 and 1' in capsys.readouterr().err


def _refuse(runner, stage: Stage, context) -> None:
    raise AssertionError(f'{stage.name} was run again')


def test_each_batch_mixes_the_sources(data, configs, tmp_path):
    """One labelled image of four; weights are scores for the others and 1 for it."""
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    cfg = Config.fromfile(configs / 'yolonas_s_bccd_student.py')
    truth = json.loads((data / 'train' / '_annotations.coco.json').read_text())
    for name, chosen in (('labelled', range(3)), ('pseudo', range(3, 10))):
        part = dict(truth, images=[i for i in truth['images'] if i['id'] in chosen],
                    annotations=[dict(a, score=0.25) for a in truth['annotations']
                                 if a['image_id'] in chosen])
        (tmp_path / f'{name}.json').write_text(json.dumps(part))
    for dataset, name in zip(cfg.train_dataloader.dataset.datasets, ('labelled', 'pseudo')):
        dataset.update(data_root='', ann_file=str(tmp_path / f'{name}.json'),
                       data_prefix=dict(img=f'{data}/train/'))
    init_default_scope('mmdet')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = iter(loader)
    for _ in range(5):
        samples = next(batches)['data_samples']
        ids = [sample.img_id for sample in samples]
        assert sum(image < 3 for image in ids) == 1 and len(ids) == 4
        for sample in samples:
            weights = sample.gt_instances.weights
            assert len(weights) == len(sample.gt_instances.labels)
            torch.testing.assert_close(
                weights, torch.full_like(weights, 1. if sample.img_id < 3 else 0.25))
