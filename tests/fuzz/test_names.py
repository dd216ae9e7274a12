"""Names of classes, files and folders: whatever they are, they stay names."""
import csv
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmyolonas.datasets.formats.coco_checks import read_coco_file
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.inspection.report import inspect_data
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import write_json
from mmyolonas.utils.inert import write_config_values
from mmyolonas.utils.names import csv_cell, from_csv_cell, markdown_cell, printable
from mmyolonas.visualization.data_report import draw_data_report
from tests.fuzz.judge import judge
from tests.fuzz.mutate import json_text
from tests.layout_files import write_layout
from tests.test_utils.test_names import HOSTILE

pytestmark = pytest.mark.filterwarnings('ignore:Glyph', 'ignore:No artists')

#: All of Unicode with what is syntax somewhere more often.
NAMES = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE), st.text(
    alphabet='$\\{}_^|=+-@\'"\n\t\r\0<>%&#;:,.[]()`~ \u202e\udc80ab01', max_size=20))

PICTURE, OTHER_PICTURE = (
    cv2.imencode('.png', cv2.resize(np.random.default_rng(seed).integers(
        0, 255, (6, 8, 3), dtype=np.uint8), (64, 64)))[1].tobytes() for seed in (0, 1))
FILES = json.dumps(dict(
    images=[dict(id=1, file_name='a.png', width=64, height=64),
            dict(id=2, file_name='b.png', width=64, height=64)],
    annotations=[dict(id=i, image_id=i, category_id=1, bbox=[4, 5, 20, 30]) for i in (1, 2)],
    categories=[dict(id=1, name='cat')]))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp('names') / 'data', 'roboflow', 3, 1)


@given(one=NAMES, other=NAMES)
def test_classes(root, one, other):
    """From the file to the report, its pictures and the config: the same name everywhere."""
    for part in ('train', 'valid'):
        path = root / part / '_annotations.coco.json'
        data = json.loads(path.read_text())
        for category, name in zip(data['categories'], (one, other)):
            category['name'] = name
        path.write_text(json.dumps(data))

    def use():
        report = inspect_data(read_layout(root))
        text = report.to_text()
        text.encode()
        assert not {'\x1b', '\0', '\r'} & set(text)
        values = dict(dataset_values=dict(names=list(report.classes)))
        write_config_values(root / 'values.json', values)
        (root / 'config.py').write_text("_base_ = 'values.json'\n")
        config = Config.fromfile(str(root / 'config.py'))
        assert list(config.dataset_values.names) == list(report.classes)
        return report

    report = judge('names', use)
    if not isinstance(report, Exception):
        assert set(report.classes) == {one, other}


@settings(max_examples=max(3, settings.default.max_examples // 10))  # a second each
@given(one=NAMES)
def test_pictures(root, one):
    """Figures and drawn images of a class of any name."""
    for part in ('train', 'valid'):
        path = root / part / '_annotations.coco.json'
        data = json.loads(path.read_text())
        data['categories'][0]['name'], data['categories'][1]['name'] = one, 'other'
        path.write_text(json.dumps(data))

    def draw():
        report = inspect_data(read_layout(root))
        return draw_data_report(report, root / 'drawn')

    judge('names', draw)


@given(NAMES)
def test_figure(root, name):
    from matplotlib.figure import Figure

    def draw():
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        axes.barh([name[:20], 'b'], [1, 2], label=name[:20])
        axes.set(title=name[:20])
        axes.legend()
        write_figure(root / 'figure.png', figure)

    judge('names', draw)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_tables(names):
    """Through a table and back; no cell is a formula."""
    stream = io.StringIO(newline='')
    csv.writer(stream).writerow([csv_cell(name) for name in names])
    stream.seek(0)
    row, = csv.reader(stream)
    assert [from_csv_cell(cell) for cell in row] == names
    for name in names:
        assert csv_cell(name)[:1] not in ('=', '@', '\t', '\r')
        shown = markdown_cell(name)
        assert '\n' not in shown and '|' not in shown.replace('\\\\', '').replace('\\|', '')
        printable(name).encode()


@given(name=NAMES, listed=st.none() | NAMES)
def test_files(tmp_path_factory, name, listed):
    """An image of any name is found, or missed in a sentence; its name stays one."""
    folder = tmp_path_factory.mktemp('files')
    data = json.loads(FILES)
    try:
        path = folder / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    except (OSError, ValueError):  # no file can have it
        name = 'a'
        (folder / 'a.png').write_bytes(PICTURE)
    (folder / 'b.png').write_bytes(OTHER_PICTURE)
    data['images'][0]['file_name'] = f'{name if listed is None else listed}.png'
    (folder / 'a.json').write_bytes(json_text(data))

    def use():
        report = inspect_data(read_layout(folder))
        text = report.to_text()
        text.encode()
        assert not {'\x1b', '\0', '\r'} & set(text)
        write_json(folder / 'report.json', report.to_dict())
        for split in report.layout.splits.values():
            write_json(folder / 'again.json', split.data)
            read_coco_file(str(folder / 'again.json'), 'again.json')
        return report

    report = judge('file names', use)
    if listed is None and not isinstance(report, Exception):
        assert not any(part.bad_images for part in report.splits.values())
    shutil.rmtree(folder)
