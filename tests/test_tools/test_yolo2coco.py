"""YOLO text files become the COCO annotations that they mean."""
import json

import cv2
import numpy as np
import pytest

from tests.run_tool import run_tool

TOOL = 'tools/dataset_converters/yolo2coco.py'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / 'data.yaml').write_text('names: {0: cat, 1: dog}\n')
    return tmp_path


def test_boxes(folder, capsys):
    (folder / 'labels' / 'a.txt').write_text(
        '1 0.5 0.4 0.2 0.4\n0 0.95 0.5 0.2 0.2\n\n0 2 2 .1 .1\n')
    out = folder / 'out.json'
    assert run_tool(TOOL, folder / 'images', out, '--names', folder / 'data.yaml') == 0
    assert '2 images, 2 objects of 2 classes; 1 boxes without area' in capsys.readouterr().out
    coco = json.loads(out.read_text())
    assert [c['name'] for c in coco['categories']] == ['cat', 'dog']
    assert [(i['file_name'], i['width'], i['height']) for i in coco['images']] == [
        ('a.png', 100, 50), ('b.png', 100, 50)]
    first, second = coco['annotations']
    assert first['bbox'] == [40, 10, 20, 20] and first['category_id'] == 2
    assert second['bbox'] == [85, 20, 15, 10]  # clipped to the image
    from pycocotools.coco import COCO
    assert len(COCO(str(out)).getAnnIds(imgIds=[0])) == 2


def test_keypoints(folder):
    (folder / 'labels' / 'a.txt').write_text('0 .5 .5 1 1 .1 .2 2 .3 .4 0\n')
    (folder / 'labels' / 'b.txt').write_text('0 .5 .5 1 1 .1 .2 0 0\n')
    out = folder / 'out.json'
    assert run_tool(TOOL, folder / 'images', out, '--names', folder / 'data.yaml', '--keypoints',
                    2) == 0
    first, second = json.loads(out.read_text())['annotations']
    assert first['keypoints'] == [10, 10, 2, 30, 20, 0] and first['num_keypoints'] == 1
    assert second['keypoints'] == [10, 10, 2, 0, 0, 0]


@pytest.mark.parametrize('line, message', [
    ('0 .5 .5 .1', 'line 1: expected 5 numbers, got "0 .5 .5 .1"'),
    ('cat .5 .5 .1 .1', 'line 1: expected 5 numbers'),
    ('7 .5 .5 .1 .1', 'line 1: class 7 is not among the 2 names'),
])
def test_bad_lines(folder, capsys, line, message):
    (folder / 'labels' / 'a.txt').write_text(line)
    out = folder / 'out.json'
    assert run_tool(TOOL, folder / 'images', out, '--names', folder / 'data.yaml') == 1
    assert message in capsys.readouterr().err and not out.exists()
