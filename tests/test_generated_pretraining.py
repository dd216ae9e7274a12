"""The benchmark of pre-training on drawn shapes: its table, and all of it on a few images."""
import json
import subprocess
import sys

import pytest
from mmengine.config import Config

from benchmarks.generated_pretraining import table
from tests.conftest import ROOT
from tests.layout_files import write_layout


def test_table():
    runs = [dict(ap=0.1, ap50=0.3), dict(ap=0.3, ap50=0.5)]
    text = table(dict(scratch=runs, generated=runs[:1]))
    assert '| scratch | 0.200 +- 0.141 (0.100, 0.300) | 0.400 +- 0.141' in text
    assert '| generated | 0.100 +- nan (0.100) |' in text


@pytest.mark.slow
def test_on_a_few_images(tmp_path):
    data = write_layout(tmp_path / 'data', 'roboflow', 8, 4)
    done = subprocess.run(
        [sys.executable, str(ROOT / 'benchmarks' / 'generated_pretraining.py'), str(data),
         '--work-dir', str(tmp_path / 'work'), '--images', '8', '--pretrain-epochs', '1',
         '--epochs', '1', '--seeds', '3', '--pretrain-options', 'train_cfg.val_interval=1',
         '--finetune-options', '--imgsz 64 --batch 1'],
        text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert '| generated, rate from scratch |' in done.stdout
    results = json.loads((tmp_path / 'work' / 'results.json').read_text())
    assert {len(runs) for runs in results.values()} == {1} and len(results) == 3
    configs = [Config.fromfile(path) for path in sorted((tmp_path / 'work').glob('*/config.py'))]
    assert [cfg.randomness.seed for cfg in configs] == [3, 3, 3]
    assert sum(cfg.load_from is None for cfg in configs) == 1
