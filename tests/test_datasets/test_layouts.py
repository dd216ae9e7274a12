"""Every layout is found by itself and gives the same boxes; what is wrong is said."""
import json

import numpy as np
import pytest

from mmyolonas.datasets.formats.coco_split import data_classes
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from tests.layout_files import write_layout

KINDS = {'roboflow': 'coco', 'coco': 'coco', 'yolo': 'yolo', 'voc': 'voc'}


def boxes_of(layout, name):
    """Return label and box of every object of a part, by file name."""
    split = layout.splits[name]
    classes = sorted(data_classes(layout.splits.values()))
    table = box_table(split, classes)
    assert not table.problems
    return sorted((split.paths[image].name, classes[label], *np.round(box, 2))
                  for image, label, box in zip(table.images, table.labels, table.boxes))


@pytest.mark.parametrize('kind', KINDS)
def test_layouts_agree(kind, tmp_path):
    layout = read_layout(write_layout(tmp_path / 'meine Däten' / kind, kind))
    assert layout.format == KINDS[kind] and list(layout.splits) == ['train', 'val']
    assert all(path.is_file() for split in layout.splits.values() for path in split.paths)
    expected = read_layout(write_layout(tmp_path / 'expected', 'roboflow'))
    for name in ('train', 'val'):
        assert boxes_of(layout, name) == boxes_of(expected, name)


def test_parts_from_one_file(tmp_path):
    write_layout(tmp_path, 'single', 5, 0)
    assert list(read_layout(tmp_path).splits) == ['train']
    assert len(read_layout(tmp_path / 'labels.json').splits['train'].paths) == 5


def test_same_file_names_in_several_folders(tmp_path):
    """Each part takes the folder that is named like it."""
    for name in ('train', 'val'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '1.jpg').write_bytes(name.encode())
    for name in ('train', 'val'):
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(
            images=[dict(id=1, file_name='1.jpg', width=9, height=9)], annotations=[],
            categories=[dict(id=1, name='cat')])))
    splits = read_layout(tmp_path).splits
    assert {name: split.images.name for name, split in splits.items()} == dict(
        train='train', val='val')


def test_yolo_outlines_and_lists(tmp_path):
    root = write_layout(tmp_path, 'yolo', 2, 0)
    label, *_ = sorted((root / 'train' / 'labels').glob('*.txt'))
    label.write_text('1 .25 .25 .75 .25 .5 .75\n')
    image = next(p for p in (root / 'train' / 'images').iterdir() if p.stem == label.stem)
    (root / 'list.txt').write_text(f'train/images/{image.name}\n')
    (root / 'data.yaml').write_text('path: .\ntrain: list.txt\nnames: {0: a, 1: b}\n')
    annotation, = read_layout(root).splits['train'].data['annotations']
    assert annotation['bbox'] == [16, 16, 32, 32] and annotation['category_id'] == 2


def test_messages(tmp_path):
    def message(data, format='auto', error=DataError) -> str:
        with pytest.raises(error) as caught:
            read_layout(data, format)
        return str(caught.value)

    assert 'does not exist' in message(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    unknown = message(tmp_path / 'empty')
    assert 'holds no labels in a layout known here' in unknown
    assert 'data.yaml' in unknown and '_annotations.coco.json' in unknown and '.xml' in unknown
    coco = write_layout(tmp_path / 'coco', 'coco')
    assert "not a data set in the format 'voc'" in message(coco, 'voc')
    (coco / 'annotations' / 'instances_train_new.json').write_text('{"images": "annotations"}')
    assert '2 annotation files for the train split' in message(coco)
    moved = write_layout(tmp_path / 'moved', 'coco')
    (moved / 'train 2017').rename(tmp_path / 'elsewhere')
    assert 'none of the images that' in message(moved)
    valid = write_layout(tmp_path / 'valid', 'roboflow')
    (valid / 'train').rename(tmp_path / 'train')
    assert 'only a val split' in message(valid)

    yolo = write_layout(tmp_path / 'yolo', 'yolo')
    text = (yolo / 'data.yaml').read_text()
    for new, expected in (('nc: 3', 'says nc: 3 but names 2 classes'),
                          ('train: lost', "train is 'lost', which exists neither")):
        key = new.split(':')[0]
        (yolo / 'data.yaml').write_text('\n'.join(
            new if line.startswith(key) else line for line in text.splitlines()))
        assert expected in message(yolo)
    (yolo / 'data.yaml').write_text(text)
    label, *_ = sorted((yolo / 'train' / 'labels').glob('*.txt'))
    label.write_text('0 .5 .5 .1')
    assert 'line 1: expected 5 numbers' in message(yolo, error=UserError)
    voc = write_layout(tmp_path / 'voc', 'voc')
    first, second, *_ = sorted((voc / 'Annotations').glob('*.xml'))
    first.write_text('<annotation><object><name>a</name></object></annotation>')
    assert 'no bndbox with four numbers' in message(voc)
    first.write_text('<annotation>')
    assert 'not complete XML' in message(voc)
    first.unlink()
    assert 'listed in ImageSets/Main' in message(voc)
