"""A training and a test say what they do, and nothing about other packages."""
import os
import re
import subprocess
import sys
import warnings

import pytest

from mmyolonas.compat import noise
from tests import tiny
from tests.conftest import ROOT

#: Every line that a training and a test may print. Records of the log, by their text:
RECORDS = (
    r'$', r'Config:$', r'Distributed training is not used, all SyncBatchNorm',
    r'Hooks will be executed in the following order:$', r'Load checkpoint from ',
    r'Checkpoints will be saved to ', r'Saving checkpoint at ', r'Exp name: ',
    r'Epoch\((train|val|test)\)', r'Evaluating bbox\.\.\.$', r'bbox_mAP_copypaste: ',
    r'Results has been saved to ')
#: what follows a record on lines of its own:
CONTINUED = (
    r'$', r'-{20,}$', r'(System|Runtime) environment:$', r'    \S.*: ', r'  - \S',
    r'[a-z_]+ = ', r' +[a-z_]+=$', r' +\S.*,$', r' +\S.*[\[({})\]]+,?$', r'[\])]+,?$', r'[a-z_]+:$',
    r'\([A-Z_]+ *\) \w+ *$', r' -+ $', r' Average (Precision|Recall) ')
RECORD = re.compile(r'\d\d/\d\d \d\d:\d\d:\d\d - mmengine - INFO - (.*)')


def unexpected(line: str) -> bool:
    record = RECORD.match(line)
    patterns, text = (RECORDS, record.group(1)) if record else (CONTINUED, line)
    return not any(re.match(pattern, text) for pattern in patterns)


def test_training_and_test_say_nothing_of_other_packages(tmp_path):
    """With data workers, with a config that inherits from an installed package."""
    cfg = tiny.config(tiny.write_data(tmp_path / 'data'), tmp_path / 'work', epochs=1, workers=1)
    cfg = {'_base_': ['mmdet::_base_/default_runtime.py'], **cfg}
    config = tiny.write_config(tmp_path / 'tiny.py', cfg)
    script = (
        'import mmyolonas\n'
        'from mmdet.visualization import DetLocalVisualizer\n'
        'from tests.run_tool import run_tool\n'
        f'run_tool("tools/train.py", {str(config)!r})\n'
        'DetLocalVisualizer._instance_dict.clear()\n'  # as in a new process, at half its time
        f'run_tool("tools/test.py", {str(config)!r}, {str(tmp_path / "work/epoch_1.pth")!r},\n'
        f'         "--out", {str(tmp_path / "work/out.pkl")!r})\n')
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONWARNINGS'}
    result = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ''
    assert (tmp_path / 'work/out.pkl').is_file()
    assert 'bbox_mAP' in result.stdout  # results are said
    assert [line for line in result.stdout.splitlines() if unexpected(line)] == []


@pytest.mark.parametrize('module, text, heard', [
    ('mmengine.utils.package_utils', 'pkg_resources is deprecated as an API. See', False),
    ('importlib', 'pkg_resources is deprecated as an API. See', False),
    ('users.module', 'pkg_resources is deprecated as an API. See', True),
    ('torch.functional', 'torch.meshgrid: in an upcoming release, it will be', False),
    ('torch.functional', 'another matter', True),
])
def test_warnings_are_told_apart_by_text_and_module(module, text, heard):
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for message, pattern in noise.WARNINGS:
            warnings.filterwarnings('ignore', message=message, module=pattern)
        warnings.warn_explicit(text, UserWarning, 'file.py', 1, module=module)
    assert bool(caught) == heard


def test_other_messages_of_a_hushed_module_are_heard(capsys):
    import pycocotools.coco
    pycocotools.coco.print('index created!')
    pycocotools.coco.print('Please specify target directory')
    pycocotools.coco.print()
    assert capsys.readouterr().out == 'Please specify target directory\n\n'
