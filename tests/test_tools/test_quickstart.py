"""The quickstart from data to table, on a handful of images."""
import json

import cv2
import pytest

from tests.run_tool import run_tool


@pytest.mark.slow
def test_quickstart(tmp_path, capfd):
    arguments = ['--work-dir', tmp_path / 'work', '--data-dir', tmp_path / 'data',
                 '--train-images', 16, '--val-images', 16]
    options = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    assert run_tool('tools/quickstart.py', *arguments, '--min-map50', 0, *options) == 0
    text = capfd.readouterr().out
    assert 'eta' in text and '| Training |' in text and '[1/' in text
    work = tmp_path / 'work'
    assert '| Sample images |' in (work / 'summary.md').read_text()
    for name in ('predictions.png', 'curves.png'):
        assert cv2.imread(str(work / name)).std() > 5
    picture, = (work / 'deployed_int8').glob('output_onnxruntime_*.jpg')
    assert cv2.imread(str(picture)).std() > 5
    # nothing is repeated, and a result below the bar is an error
    before = json.loads((work / 'stages.json').read_text())
    assert run_tool('tools/quickstart.py', *arguments, '--min-map50', 1, *options) == 1
    text = capfd.readouterr()
    assert text.out.count('done before') == len(before['stages'])
    assert 'below 1' in text.err
    assert json.loads((work / 'stages.json').read_text()) == before
