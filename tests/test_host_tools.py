"""mmdet's own scripts train and test our models; OpenMMLab's look-ups find them."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmyolonas import compat
from mmyolonas.run import find_script
from tests import tiny


def script(name: str) -> str:
    try:
        return str(find_script(f'mmdet::tools/{name}'))
    except FileNotFoundError:
        pytest.skip('this mmdet ships no tools')


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A folder in which mmdet's own train.py trained for one epoch."""
    folder = tmp_path_factory.mktemp('host')
    config = tiny.config(tiny.write_data(folder / 'data', count=4), folder / 'work', epochs=1)
    config['custom_imports'] = dict(imports=['mmyolonas'], allow_failed_imports=False)
    Config(config).dump(folder / 'config.py')
    done = run(script('train.py'), str(folder / 'config.py'))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def run(*command: str) -> subprocess.CompletedProcess:
    env = {**os.environ, 'OMP_NUM_THREADS': '1',
           'PYTHONPATH': str(Path(__file__).resolve().parent.parent)}
    return subprocess.run([sys.executable, '-W', 'ignore', *command], env=env, cwd=os.sep,
                          capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_mmdet_train_py_trains(trained):
    state = torch.load(trained / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert all(torch.isfinite(value).all() for value in state.values())
    assert any(name.startswith('bbox_head.') for name in state)


def test_its_checkpoint_loads_safely(trained):
    loaded = torch.load(trained / 'work' / 'epoch_1.pth')
    assert loaded['meta']['epoch'] == 1


@pytest.mark.parametrize('launcher', [[], ['-m', 'mmyolonas.run']])
@pytest.mark.long
def test_mmdet_test_py_tests(trained, launcher):
    if not launcher and not compat.has_module('mmcv._ext'):
        pytest.skip("without compiled mmcv, mmdet's test.py needs the launcher")
    done = run(*launcher, script('test.py'), str(trained / 'config.py'),
               str(trained / 'work' / 'epoch_1.pth'), '--work-dir', str(trained / 'tested'))
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'bbox_mAP_copypaste' in done.stdout + done.stderr


def test_inferencer_takes_our_model_by_name():
    from mmdet.apis import DetInferencer
    inferencer = DetInferencer('yolonas_s_coco', scope='mmyolonas', weights=None, device='cpu',
                               show_progress=False)
    assert type(inferencer.model).__name__ == 'YOLONAS'
    result = inferencer(torch.zeros(40, 60, 3, dtype=torch.uint8).numpy(), no_save_vis=True)
    assert set(result['predictions'][0]) >= {'labels', 'scores', 'bboxes'}
