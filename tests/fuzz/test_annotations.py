"""Annotation files of every format: changed values, bytes and lines."""
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmyolonas.datasets import CheckedCocoDataset
from mmyolonas.datasets.formats.coco_checks import read_coco_file
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.formats.pose_checks import clean_poses
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.datasets.inspection.report import inspect_data
from mmyolonas.utils.data_error import DataError
from tests.fuzz.judge import SilentDrop, judge
from tests.fuzz.mutate import ODD, changed_bytes, changed_value, json_text
from tests.layout_files import write_layout
from tests.test_datasets.test_tool_exports import KINDS

NUMBERS = st.one_of(st.integers(-9, 80), st.floats(-9, 80), st.floats(), ODD)
COCO = dict(
    info=dict(year=2024),
    images=[dict(id=i, file_name=f'{i}.png', width=64, height=64) for i in range(3)],
    annotations=[dict(id=i, image_id=i % 3, category_id=1 + i % 2, bbox=[4 + i, 5, 20, 30],
                      area=600, iscrowd=0, segmentation=[[4, 5, 24, 5, 24, 35]],
                      keypoints=[5, 6, 2, 9, 9, 1, 0, 0, 0], num_keypoints=2) for i in range(6)],
    categories=[dict(id=1, name='cat', supercategory='animal'), dict(id=2, name='dog')])


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('annotations')


def load(path):
    """Read a COCO file as finetune, training and validation do; nothing may get lost unsaid."""
    said = []

    class Data(CheckedCocoDataset):

        def _warn(self, text):
            said.append(text)

    data = read_coco_file(str(path), str(path))
    names = [category['name'] for category in data['categories']]
    if len(set(names)) < len(names) or not names:
        raise DataError('names that occur twice are refused in another place')
    for test_mode in (False, True):
        said.clear()
        dataset = Data(ann_file=str(path), metainfo=dict(classes=tuple(names)), pipeline=[],
                       test_mode=test_mode, with_mask=True, serialize_data=False)
        kept = sum(len(info['instances']) for info in dataset.data_list)
        lost = len(data['annotations']) - kept
        dropped = sum(int(text.split()[0]) for text in said if 'dropped' in text)
        if lost != dropped:
            raise SilentDrop(f'{lost} boxes lost, {dropped} said')
        for info in dataset.data_list:
            boxes = np.array([item['bbox'] for item in info['instances']]).reshape(-1, 4)
            assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    return dataset


@given(changed_value(COCO))
def test_coco_values(place, value):
    (place / 'a.json').write_bytes(json_text(value))
    judge('annotations', lambda: load(place / 'a.json'))


@given(changed_bytes(json.dumps(COCO).encode()))
def test_coco_bytes(place, data):
    (place / 'a.json').write_bytes(data)
    judge('annotations', lambda: load(place / 'a.json'))


@given(st.lists(st.lists(NUMBERS, max_size=5), max_size=6), ODD)
def test_coco_boxes(place, boxes, other):
    value = json.loads(json.dumps(COCO))
    for annotation, box in zip(value['annotations'], boxes):
        annotation['bbox'] = [*box, *([other] if len(box) == 3 else [])]
    (place / 'a.json').write_bytes(json_text(value))
    judge('annotations', lambda: load(place / 'a.json'))


@given(st.lists(st.one_of(ODD, st.lists(NUMBERS, max_size=12), st.lists(
    st.lists(NUMBERS, max_size=4), max_size=4)), max_size=6))
def test_key_points(place, points):
    """Every annotation that stays has 3 K finite numbers."""
    value = json.loads(json.dumps(COCO))
    for annotation, keypoints in zip(value['annotations'], points):
        annotation['keypoints'] = keypoints
    (place / 'a.json').write_bytes(json_text(value))

    def read():
        data = read_coco_file(str(place / 'a.json'), 'a.json')
        clean_poses(data, 3, 'a.json')
        for annotation in data['annotations']:
            assert np.shape(annotation['keypoints']) == (9, )
            assert np.isfinite(np.array(annotation['keypoints'], float)).all()
        return data

    judge('key points', read)


def look(root):
    """Read a folder as finetune does, without its images' pixels."""
    layout = read_layout(root)
    classes = tuple(dict.fromkeys(c['name'] for s in layout.splits.values()
                                  for c in s.data['categories']))
    for split in layout.splits.values():
        if classes:
            table = box_table(split, classes)
            assert np.isfinite(table.boxes).all()
    return layout


@pytest.fixture(scope='module', params=['yolo', 'voc', *KINDS])
def export(request, tmp_path_factory):
    """A data set, and one of its label files."""
    root = tmp_path_factory.mktemp('export') / 'data'
    if request.param in ('yolo', 'voc'):
        write_layout(root, request.param, 4, 0)
    else:
        write_layout(root, 'single', 4, 0)
        data = json.loads((root / 'labels.json').read_text())
        (root / 'labels.json').unlink()
        KINDS[request.param](root, data)
    files = sorted(path for path in root.rglob('*') if path.suffix in (
        '.json', '.xml', '.csv', '.txt', '.yaml', '.names') and path.name != 'notes.json')
    return root, files, [path.read_bytes() for path in files]


@given(data=st.data())
def test_exports_bytes(export, data):
    root, files, contents = export
    number = data.draw(st.integers(0, len(files) - 1))
    try:
        files[number].write_bytes(data.draw(changed_bytes(contents[number])))
        judge('label files', lambda: look(root))
    finally:
        files[number].write_bytes(contents[number])


@given(data=st.data())
def test_exports_words(export, data):
    """Numbers and names in the text replaced by others."""
    root, files, contents = export
    number = data.draw(st.integers(0, len(files) - 1))
    words = contents[number].decode().split(' ')
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = str(data.draw(st.one_of(NUMBERS, st.sampled_from(words))))
    try:
        files[number].write_bytes(' '.join(words).encode('utf-8', 'surrogatepass'))
        judge('label files', lambda: look(root))
    finally:
        files[number].write_bytes(contents[number])


YAML = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.text(max_size=6),
              st.sampled_from(['no', '0', '1', '07', 'train/images', '', ',', '[a, b]', 'a, b'])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
        st.one_of(st.integers(-1, 5), st.sampled_from(['0', '1', '10', 'a'])), inner, max_size=3)),
    max_leaves=6)


@given(names=YAML, nc=YAML, train=st.one_of(st.just('train/images'), YAML), shape=YAML, path=YAML)
def test_descriptions(place, names, nc, train, shape, path):
    """Any data.yaml: as many classes as it names, or a sentence."""
    import yaml
    root = place / 'yolo'
    if not root.exists():
        write_layout(root, 'yolo', 2, 0)
    (root / 'data.yaml').write_text(yaml.safe_dump(
        dict(names=names, nc=nc, train=train, kpt_shape=shape, path=path)), encoding='utf-8')
    found = judge('descriptions', lambda: look(root))
    if isinstance(names, list) and not isinstance(found, Exception) and all(
            isinstance(name, str) for name in names):
        assert [c['name'] for c in found.splits['train'].data['categories']] == names


@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), st.sampled_from(
    ['.png', '.jpg', '.JPG', '.tif', '.txt', '.json', '.xml', '.yaml', '.csv', ''])), max_size=6),
    st.binary(max_size=40))
def test_folders(tmp_path_factory, names, content):
    """Folders of anything are read, or told apart in a sentence."""
    root = tmp_path_factory.mktemp('folder')
    for stem, suffix in names:
        path = root / (stem.replace('/', '_').replace('\0', '_') + suffix)
        try:
            path.write_bytes(content)
        except (OSError, UnicodeEncodeError):
            continue
    judge('folders', lambda: inspect_data(read_layout(root)))
    shutil.rmtree(root)
