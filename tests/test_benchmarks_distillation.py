"""benchmarks/distillation.py on a network of 8 to 32 channels."""
import json
import subprocess
import sys

import pytest

from mmyolonas.datasets.samples.sample_shapes import SHAPE_CLASSES
from tests import tiny
from tests.conftest import ROOT


def write_configs(folder) -> None:
    """Write a teacher's and a student's config."""
    cfg = tiny.config(folder / 'data', folder / 'unused')
    cfg['model'] = tiny.model_config(len(SHAPE_CLASSES))
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader']['dataset'].update(
            ann_file=f'annotations/instances_{"train" if part == "train" else "val"}.json',
            data_prefix=dict(img='train/' if part == 'train' else 'val/'),
            metainfo=dict(classes=tuple(SHAPE_CLASSES)))
    cfg['param_scheduler'].append(dict(
        type='CosineAnnealingLR', begin=0, end=1, T_max=1, by_epoch=True,
        convert_to_iter_based=True))
    tiny.write_config(folder / 'teacher.py', cfg)
    cfg['custom_hooks'].append(dict(
        type='mmyolonas.DistillationHook', schedule=dict(warmup=0),
        teacher=dict(config='teacher.py', checkpoint='teacher.pth')))
    tiny.write_config(folder / 'student.py', cfg)


@pytest.mark.slow
def test_distillation(tmp_path):
    """Both arms of a seed, then another seed without repeating the first."""
    write_configs(tmp_path)

    def run(*options: str) -> str:
        result = subprocess.run(
            [sys.executable, str(ROOT / 'benchmarks' / 'distillation.py'), '--work-dir',
             str(tmp_path / 'out'), '--data-dir', str(tmp_path / 'data'), '--teacher-config',
             str(tmp_path / 'teacher.py'), '--student-config', str(tmp_path / 'student.py'),
             '--epochs', '2', '--teacher-epochs', '1', '--train-images', '4', '--val-images', '2',
             '--rounds', '1', '--seeds', *options], text=True, capture_output=True, timeout=1800)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        return result.stdout

    run('3')
    text = run('3', '5')
    assert text.count('done before') == 5 and '2 seeds, 2 epochs of 4 images' in text
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['seeds'] == [3, 5]
    for values in results['arms'].values():
        assert all(len(value) == 2 for value in values.values())
    assert results['cost']['distilled_ms'] > results['cost']['plain_ms'] > 0
    text = run('3', '--longer', '3', '--cheaper')
    assert text.count('done before') == 5 and '| plain, 3 epochs |' in text
    assert '| distilled, cheaper |' in text
    losses = [(tmp_path / 'out' / f'{arm}_3' / 'train.log').read_text()
              for arm in ('plain', 'distilled')]
    assert 'loss_kd_cls' not in losses[0] and 'loss_kd_cls' in losses[1]
