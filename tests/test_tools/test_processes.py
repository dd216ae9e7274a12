"""Two processes give the losses of one with twice the batch; the launchers start them."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmyolonas.utils.building import build_model
from tests import tiny
from tests.conftest import ROOT
from tests.forked import Forked, end_of_ranks, free_port, run_forked, start_ranks

#: Stands for a program: takes ``srun``'s options away and notes what it was to start.
STUB = '''#!/usr/bin/env bash
while [[ $0 == */srun && $1 == -* ]]; do
    case $1 in -p) shift 2;; *) shift;; esac
done
printf '%s\\n' "$@" > "$NOTE"
'''


#: Large enough that initial boxes (of 128 pixels) overlap with the objects: below a summed target
#: of 1 per process the divisor of the losses is clipped, as in the original.
SIZE = 160
MERGED = dict(constructor='mmyolonas.MergedGroupsConstructor')


def write_config(folder: Path, batch: int, steps: int, double: bool = False, **changes) -> Path:
    """Write the config of a training without randomness beyond the order of the images.

    In double precision it is distilled as well. ``changes`` replace settings.
    """
    cfg = tiny.config(folder / 'data', folder / 'unused', epochs=steps // 2)
    loader = cfg['train_dataloader']
    loader['batch_size'] = batch
    loader['dataset']['pipeline'] = [
        step for step in loader['dataset']['pipeline']
        if step['type'] not in ('CachedMixUp', 'YOLOXHSVRandomAug', 'RandomFlip')]
    for step in loader['dataset']['pipeline']:
        if step['type'] == 'Resize':
            step['scale'] = (SIZE, SIZE)
    cfg['val_dataloader'] = cfg['val_cfg'] = cfg['val_evaluator'] = None
    cfg['default_hooks']['checkpoint'] = None
    cfg['custom_hooks'].append(dict(type='LossRecorder'))
    imports = ['mmyolonas', 'tests.loss_recorder', *['tests.double_precision'] * double]
    cfg['custom_imports'] = dict(imports=imports)
    cfg['sync_bn'] = 'torch'
    cfg['env_cfg']['dist_cfg'] = dict(backend='nccl')
    cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.0001, momentum=0.9)
    if double:
        channels = (16, 16, 32)
        cfg['model']['bbox_head']['feature_adapters'] = dict(
            type='mmyolonas.FeatureAdapters', in_channels=channels, out_channels=channels)
        cfg['custom_hooks'].append(dict(
            type='mmyolonas.DistillationHook', weights=dict(feat=1.0),
            # idle at first: unused adapters would stop DDP
            schedule=dict(begin=1, by_epoch=False),
            teacher=dict(config=str(folder / 'teacher.py'),
                         checkpoint=str(folder / 'teacher.pth'))))
    cfg.update(changes)
    return tiny.write_config(folder / f'batch_{batch}.py', cfg)


def run(command: list, **env: str) -> None:
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    result = subprocess.run(
        command, text=True, capture_output=True, timeout=1200,
        env={**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', **env})
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


def losses(folder: Path, ranks: int) -> dict:
    """Return the losses of each iteration by name, averaged over the ranks."""
    rows = [[json.loads(line) for line in (folder / f'losses_{rank}.jsonl').open()]
            for rank in range(ranks)]
    assert len({len(of_rank) for of_rank in rows}) == 1
    names = set.intersection(*(set(row) for of_rank in rows for row in of_rank))
    return {name: np.mean([[row[name] for row in of_rank] for of_rank in rows], axis=0)
            for name in names}


@pytest.fixture
def folder(tmp_path):
    tiny.write_data(tmp_path / 'data', count=8, size=SIZE)
    cfg = dict(default_scope='mmdet', model=tiny.model_config())
    tiny.write_config(tmp_path / 'teacher.py', cfg)
    torch.manual_seed(3)
    state = build_model(Config(cfg)).state_dict()
    for key in state:
        if key.endswith('cls_pred.bias'):
            state[key] += 4
    torch.save(dict(state_dict=state), tmp_path / 'teacher.pth')
    return tmp_path


def train_in_two(config: Path, work_dir: Path) -> None:
    """Train as ``tools/dist_train.sh`` does it, without three starts of Python."""
    end_of_ranks(start_ranks([ROOT / 'tools' / 'train.py', config, '--launcher', 'pytorch',
                              '--work-dir', work_dir]))


def train_in_one(config: Path, work_dir: Path) -> None:
    run_forked([ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir])


def compared(folder: Path, steps: int) -> tuple:
    """Return the losses of the training in ``one`` process and of that in ``two``."""
    one, two = losses(folder / 'one', 1), losses(folder / 'two', 2)
    assert one.keys() == two.keys() and len(one['loss']) == steps
    return one, two


@pytest.mark.long
def test_two_processes_equal_twice_the_batch(folder):
    """The curves agree over 12 steps: batch norms, normalisers and gradients are synchronised.

    In double precision, where nothing hides behind rounding.
    """
    train_in_two(write_config(folder, 2, 12, True), folder / 'two')
    train_in_one(write_config(folder, 4, 12, True), folder / 'one')
    one, two = compared(folder, 12)
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-6, atol=1e-8, err_msg=name)
    assert abs(one['loss'][-1] / one['loss'][0] - 1) > 0.01  # something was learnt
    assert one['loss_kd_feat'][-1] > 0


@pytest.mark.slow
def test_two_processes_in_single_precision(folder):
    """The first 10 steps of the published schedule, from weights that know the data.

    Slow, because what is compared is compared in double precision at every run.

    At higher rates rounding grows with every step, and near-ties of the assignment part the curves.
    """
    before = write_config(
        folder, 4, 80, optim_wrapper=dict(optimizer=dict(type='AdamW', lr=2e-3), **MERGED),
        default_hooks=dict(checkpoint=dict(type='mmyolonas.AtomicCheckpointHook', interval=40)))
    train_in_one(before, folder / 'before')
    published = Config.fromfile(ROOT / 'configs' / 'yolonas' / 'yolonas_s_coco.py')
    warmup = published.param_scheduler[0]
    assert warmup.end == 1000 and not warmup.by_epoch
    changes = dict(load_from=str(folder / 'before' / 'epoch_40.pth'),
                   optim_wrapper=dict(optimizer=dict(published.optim_wrapper.optimizer), **MERGED),
                   param_scheduler=[dict(warmup)])
    train_in_two(write_config(folder, 2, 10, **changes), folder / 'two')
    train_in_one(write_config(folder, 4, 10, **changes), folder / 'one')
    one, two = compared(folder, 10)
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-4, err_msg=name)


def noted(folder: Path, script: str, *args, **env: str) -> list:
    """Return what a launching script starts instead of starting it."""
    binaries = folder / 'bin'
    binaries.mkdir()
    for name, text in (('srun', STUB), ('python', STUB),
                       ('scontrol', '#!/bin/sh\necho 127.0.0.1\n')):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    env = dict(env, PATH=f'{binaries}{os.pathsep}{os.environ["PATH"]}', NOTE=str(folder / 'note'))
    run(['bash', str(ROOT / 'tools' / script), *map(str, args)], **env)
    return (folder / 'note').read_text().splitlines()


@pytest.mark.long
def test_slurm_launcher(folder):
    """What the script has srun start, started as the two tasks of one node."""
    config = write_config(folder, 2, 2)
    python, unbuffered, *command = noted(folder, 'slurm_train.sh', 'part', 'job', config,
                                         folder / 'two', GPUS='2')
    assert (python, unbuffered) == ('python', '-u')
    env = dict(SLURM_NTASKS='2', SLURM_NODELIST='localhost', MASTER_PORT=free_port(),
               PATH=f'{folder / "bin"}{os.pathsep}{os.environ["PATH"]}')
    end_of_ranks([Forked(command, read=True, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), **env)
                  for rank in range(2)])
    assert len(losses(folder / 'two', 2)['loss']) == 2


def test_torchrun_launcher(tmp_path):
    """What the script has Python run; torchrun itself is started by a slow test."""
    assert noted(tmp_path, 'dist_train.sh', 'my config.py', 2, '--work-dir', 'w', PORT='123') == [
        '-m', 'torch.distributed.run', '--nnodes=1', '--node_rank=0', '--master_addr=127.0.0.1',
        '--master_port=123', '--nproc_per_node=2', str(ROOT / 'tools' / 'train.py'),
        'my config.py', '--launcher', 'pytorch', '--work-dir', 'w']


def pose_config(folder: Path, batch: int) -> Path:
    """Write the config of a pose training with a teacher, without randomness but the order."""
    from tests.test_pose.test_pose_end_to_end import config
    cfg = config(folder)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.default_hooks.pop('visualization')
    cfg.default_hooks.checkpoint = None
    loader = cfg.train_dataloader
    loader.batch_size = batch
    loader.dataset.pipeline = [step for step in loader.dataset.pipeline if step.type in (
        'LoadImage', 'mmyolonas.PoseSanitize', 'mmyolonas.PoseResizePad',
        'mmyolonas.PosePackLabels', 'PackPoseInputs')]
    tiny.write_config(folder / 'teacher.py', dict(default_scope='mmpose',
                                                  model=cfg.model.to_dict()))
    torch.manual_seed(5)
    state = build_model(Config.fromfile(folder / 'teacher.py')).state_dict()
    for key in state:
        if key.endswith('cls_pred.bias'):
            state[key] += 4
    torch.save(dict(state_dict=state), folder / 'teacher.pth')
    cfg.custom_imports = dict(imports=[*cfg.custom_imports.imports, 'tests.loss_recorder',
                                       'tests.double_precision'])
    cfg.custom_hooks = [dict(type='LossRecorder'), dict(
        type='mmyolonas.DistillationHook', teacher=dict(
            config=str(folder / 'teacher.py'), checkpoint=str(folder / 'teacher.pth')))]
    cfg.sync_bn = 'torch'
    cfg.env_cfg.dist_cfg = dict(backend='nccl')
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-4))
    cfg.param_scheduler, cfg.randomness = [], dict(seed=0)
    return tiny.write_config(folder / f'batch_{batch}.py', cfg.to_dict())


@pytest.mark.slow
def test_a_pose_student_in_two_processes(tmp_path):
    """What the teacher adds is that of one process with both halves of the batch.

    The student's own losses are divided by the targets of its process, as in the original.
    """
    pytest.importorskip('mmpose')
    from tests.test_pose.test_pose_end_to_end import write_data
    write_data(tmp_path)
    run(['bash', str(ROOT / 'tools' / 'dist_train.sh'), str(pose_config(tmp_path, 2)), '2',
         '--work-dir', str(tmp_path / 'two')], PORT=free_port())
    run([sys.executable, str(ROOT / 'tools' / 'train.py'), str(pose_config(tmp_path, 4)),
         '--work-dir', str(tmp_path / 'one')], PYTHONPATH=str(ROOT))
    one, two = losses(tmp_path / 'one', 1), losses(tmp_path / 'two', 2)
    terms = [name for name in one if '_kd_' in name]
    assert len(terms) == 4 and len(two['loss']) > 1
    for name in terms:
        assert one[name][0] > 0
        np.testing.assert_allclose(two[name][0], one[name][0], rtol=1e-6, err_msg=name)
    assert all(np.isfinite(values).all() for values in two.values())
