"""The tutorial notebook, cell by cell, on a few drawn images."""
import json
import sys
from collections import Counter

import cv2
import matplotlib
import onnx
import pytest

from tests.conftest import ROOT
from tests.layout_files import write_model

NOTEBOOK = ROOT / 'demo' / 'finetune_tutorial.ipynb'


def code_cells() -> list:
    """Return the source of the code cells."""
    book = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    assert book['nbformat'] == 4
    return [''.join(cell['source']) for cell in book['cells'] if cell['cell_type'] == 'code']


def test_is_clean():
    """No outputs are stored, and every cell is valid Python."""
    book = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    assert all(not cell['outputs'] for cell in book['cells'] if cell['cell_type'] == 'code')
    assert all(compile(source, 'cell', 'exec') for source in code_cells())


@pytest.mark.slow
def test_from_images_to_int8(tmp_path, monkeypatch, capsys):
    matplotlib.use('Agg')
    monkeypatch.chdir(NOTEBOOK.parent)  # as Jupyter does
    monkeypatch.setattr('mmyolonas.workflows.finetune.finetune_settings._MIN_STEPS', 10)
    settings = dict(WORK_DIR=tmp_path / 'work', EPOCHS=1, IMAGE_SIZE=64, DRAWN_IMAGES=16,
                    CALIBRATION_IMAGES=4, MODEL=write_model(tmp_path / 'narrow.py'))
    for name, value in settings.items():
        monkeypatch.setenv(f'TUTORIAL_{name}', str(value))
    monkeypatch.setattr(sys, 'argv', ['notebook'])
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    namespace = {'__name__': '__main__'}
    for number, source in enumerate(code_cells()):
        exec(compile(source, f'cell {number}', 'exec'), namespace)
    text = capsys.readouterr().out
    assert 'done: ' in text and 'AP' in text
    work = tmp_path / 'work' / 'finetune'
    assert (work / 'int8' / 'int8.onnx').stat().st_size > 10_000
    files = [work / name / 'end2end.onnx' for name in ('deployed', 'deployed_int8')]
    # in so narrow a model the Q/DQ nodes take most of what the weights save
    assert files[1].stat().st_size < files[0].stat().st_size
    kinds = [Counter(node.op_type for node in onnx.load(file).graph.node) for file in files]
    assert kinds[0]['QuantizeLinear'] == 0 and kinds[1]['QuantizeLinear'] > 50
    assert kinds[0]['NonMaxSuppression'] == kinds[1]['NonMaxSuppression'] == 1
    assert cv2.imread(str(work / 'evaluation' / 'confusion.png')).std() > 3
