"""Roboflow's layout: parts, classes without the whole set's category, clear messages."""
import json

import pytest

from mmyolonas.datasets.formats.coco_split import check_unique_names, data_classes
from mmyolonas.datasets.formats.roboflow import ANNOTATIONS, is_roboflow, read_roboflow
from mmyolonas.utils.data_error import DataError
from tests.test_datasets.coco_files import coco_dict, write_coco


def write_part(folder, boxes, classes=('things', 'cat', 'dog')):
    """Write a part whose category ids begin at 0, as Roboflow's do."""
    data = coco_dict(boxes)
    data['categories'] = [dict(id=i, name=name) for i, name in enumerate(classes)]
    write_coco(folder, data)
    (folder / 'ann.json').rename(folder / ANNOTATIONS)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'my data ä'
    write_part(folder / 'train', [(1, 1, [5, 6, 20, 30]), (2, 1, [1, 1, 9, 9])])
    write_part(folder / 'valid', [(1, 1, [5, 6, 20, 30])])
    return folder


def test_parts_and_classes(root):
    assert is_roboflow(root) and not is_roboflow(root / 'train')
    splits = read_roboflow(root)
    assert list(splits) == ['train', 'val']
    assert splits['val'].ann_file == root / 'valid' / ANNOTATIONS
    assert all(path.is_file() for split in splits.values() for path in split.paths)
    assert data_classes(splits.values()) == ('cat', 'dog')
    assert data_classes(splits.values(), occurring_only=True) == ('cat', )
    # a class that only another part has comes last
    splits['val'].data['categories'].append(dict(id=7, name='bird'))
    assert data_classes(splits.values()) == ('cat', 'dog', 'bird')


def test_category_zero(tmp_path):
    """It is a class where it has boxes, or shares its name with one that has."""
    write_part(tmp_path / 'train', [(1, 0, [5, 6, 20, 30])], ('cat', 'dog'))
    assert data_classes(read_roboflow(tmp_path).values()) == ('cat', 'dog')
    write_part(tmp_path / 'train', [(1, 1, [5, 6, 20, 30])], ('cat', 'cat', 'dog'))
    assert data_classes(read_roboflow(tmp_path).values()) == ('cat', 'dog')


def test_messages(root):
    with pytest.raises(DataError, match='has no test split: expected .*test/_annotations'):
        read_roboflow(root, needed=('train', 'test'))
    write_part(root / 'valid', [(1, 1, [5, 6, 20, 30]), (1, 2, [5, 6, 20, 30])],
               ('things', 'cat', 'cat'))
    splits = read_roboflow(root)
    check_unique_names(splits['train'])
    with pytest.raises(DataError, match=r"2 categories are called 'cat' \(ids '1', '2'\)"):
        check_unique_names(splits['val'])
    for split in splits.values():
        split.data['annotations'] = []
    with pytest.raises(DataError, match='not a single box'):
        data_classes(splits.values())
    empty = json.loads((root / 'train' / ANNOTATIONS).read_text())
    (root / 'train' / ANNOTATIONS).write_text(json.dumps({**empty, 'images': []}))
    with pytest.raises(DataError, match='lists no images'):
        read_roboflow(root)
