"""A data set's faults are found and told in words; a sound one has none."""
import json

import cv2
import numpy as np
import pytest

from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.formats.roboflow import ANNOTATIONS
from mmyolonas.datasets.formats.splitting import split_off
from mmyolonas.datasets.inspection.image_scan import scan_image, scan_images, similar_groups
from mmyolonas.datasets.inspection.report import inspect_data
from mmyolonas.utils.data_error import DataError
from mmyolonas.visualization.data_report import draw_data_report
from tests.layout_files import speckle, write_layout


def change(root, part, edit):
    """Apply ``edit`` to the annotation file of a part."""
    path = root / part / ANNOTATIONS
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


@pytest.fixture
def root(tmp_path):
    """A sound data set: 60 + 25 images that differ, with two boxes of each class."""
    folder = tmp_path / 'data ü'
    for number, (part, count) in enumerate((('train', 60), ('valid', 25))):
        (folder / part).mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            speckle(folder / part / f'{index}.jpg', 1000 * number + index)
            images.append(dict(id=index, file_name=f'{index}.jpg', width=64, height=64))
            for label in (1, 2):
                annotations.append(dict(id=len(annotations), image_id=index, category_id=label,
                                        bbox=[4 * label, 9, 20 + index % 7, 30], iscrowd=0))
        categories = [dict(id=0, name='all'), dict(id=1, name='cat'), dict(id=2, name='dog')]
        (folder / part / ANNOTATIONS).write_text(json.dumps(dict(
            images=images, annotations=annotations, categories=categories)))
    return folder


def warnings_of(root):
    return inspect_data(read_layout(root)).warnings


def test_sound_data(root, tmp_path):
    report = inspect_data(read_layout(root))
    assert report.warnings == [] and report.notes == [] and report.leaks == []
    assert report.classes == ('cat', 'dog')
    text = report.to_text()
    assert 'nothing to warn of' in text and '  cat' in text and str(root) in text
    assert json.loads(json.dumps(report.to_dict()))['splits']['train']['boxes'] == 120
    pictures = draw_data_report(report, tmp_path / 'out')
    assert [path.name for path in pictures] == ['data.png', 'samples.png']
    assert all(cv2.imread(str(path)).std() > 5 for path in pictures)


def test_leaks_and_duplicates(root, tmp_path):
    """A copy, a compressed and scaled copy, and a copy that an export made."""
    image = cv2.imread(str(root / 'train' / '3.jpg'))
    cv2.imwrite(str(root / 'valid' / '5.jpg'), image)
    small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(root / 'train' / '8.jpg'), small, [cv2.IMWRITE_JPEG_QUALITY, 60])
    for part, index in (('train', 20), ('valid', 21)):
        name = f'cow_jpg.rf.0123456789abcde{index % 10}.jpg'
        (root / part / f'{index}.jpg').rename(root / part / name)
        change(root, part, lambda data, index=index, name=name:
               data['images'][index].update(file_name=name))
    report = inspect_data(read_layout(root))
    text = '\n'.join(report.warnings)
    assert len(report.leaks) == 2
    assert 'leak: 2 images are in train and in val' in text and 'too good' in text
    assert '1 images of train look the same as another one' in text
    assert [path.name for path in draw_data_report(report, tmp_path / 'out')][2:] == ['alike.png']


def test_bad_images_and_boxes(root):
    (root / 'train' / '0.jpg').unlink()
    data = (root / 'train' / '1.jpg').read_bytes()
    (root / 'train' / '1.jpg').write_bytes(data[:len(data) // 2])
    (root / 'train' / '2.jpg').write_bytes(b'')

    def edit(data):
        data['images'][7].update(width=128, height=128)
        boxes = [[50, 50, 40, 40], [70, 70, 5, 5], [5, 5, 0, 3], data['annotations'][14]['bbox']]
        for number, box in enumerate(boxes):
            data['annotations'][10 + number]['bbox'] = box
        data['annotations'].append(dict(data['annotations'][14], id=999))
        data['annotations'].append(dict(data['annotations'][14], id=1000, image_id=12345))

    change(root, 'train', edit)
    report = inspect_data(read_layout(root))
    text = '\n'.join(report.warnings)
    assert report.splits['train'].bad_images == [0, 1, 2]
    assert '3 images of train have' not in text
    for expected in ("3 of 60 images of train cannot be used; the first: image file '",
                     'does not exist', '1 images of train are not of the size',
                     '1 of 122 boxes of train reach over the image border',
                     '1 of 122 boxes of train lie outside', 'zero or negative width',
                     'belong to an image that is not in the file', '1 boxes of train are drawn'):
        assert expected in text, expected


def test_warnings_about_what_is_labelled(root):
    def edit(data):
        data['categories'] += [dict(id=3, name='Cat '), dict(id=4, name='cow'),
                               dict(id=5, name='bee')]
        data['annotations'] = [a for a in data['annotations'] if a['image_id'] < 30]
        for index in range(3):
            data['annotations'][index].update(category_id=4, bbox=[0, 0, 64, 64])
        for annotation in data['annotations'][3:]:
            annotation['bbox'] = [5, 5, 3, 3]
        data['annotations'][5]['category_id'] = 3
        for image in data['images']:
            image.update(width=640, height=640)

    change(root, 'train', edit)
    text = '\n'.join(warnings_of(root))
    for expected in ("the classes 'cat', 'Cat ' differ only in", "no box to train on for 'bee'",
                     "fewer than 20 boxes to train on for 'Cat  (1)', 'cow (3)'",
                     "val has no box of 'Cat ', 'cow'",
                     '30 of 60 images of train have no boxes: is the labelling complete',
                     'smaller than 1.2 % of their'):
        assert expected in text, (expected, text)


def test_few_images_and_whole_image_boxes(tmp_path):
    root = write_layout(tmp_path / 'a', 'roboflow')
    change(root, 'train', lambda data: [a.update(bbox=[0, 0, 64, 64])
                                        for a in data['annotations']])
    text = '\n'.join(warnings_of(root))
    assert 'only 6 images to train on' in text and 'only 3 images to validate on' in text
    assert '100 % of the boxes cover their whole image' in text


def test_no_boxes_and_double_names(root):
    change(root, 'train', lambda data: data['categories'].append(dict(id=9, name='cat')))
    assert warnings_of(root) == []  # the second one has no boxes
    change(root, 'train', lambda data: data['annotations'][0].update(category_id=9))
    with pytest.raises(DataError, match="2 categories are called 'cat'"):
        warnings_of(root)
    for part in ('train', 'valid'):
        change(root, part, lambda data: data.update(annotations=[]))
    with pytest.raises(DataError, match='not a single box'):
        warnings_of(root)


def test_validation_images_are_set_aside(tmp_path):
    """The same ones whatever the order, none of them like a training image."""
    root = write_layout(tmp_path, 'single', 20, 0)
    files = sorted((root / 'images').iterdir())
    for index, path in enumerate(files):
        speckle(path, index // 2)  # pairs that are the same
    report = inspect_data(read_layout(root))
    assert list(report.splits) == ['train', 'val'] and not report.leaks
    assert 'there is no validation split: 4 of 20' in report.notes[0]
    names = {path.name for path in report.splits['val'].split.paths}
    data = json.loads((root / 'labels.json').read_text())
    data['images'].reverse()
    (root / 'labels.json').write_text(json.dumps(data))
    again = inspect_data(read_layout(root))
    assert {path.name for path in again.splits['val'].split.paths} == names
    split = read_layout(root).splits['train']
    split.data['images'] = split.data['images'][:1]
    with pytest.raises(DataError, match='1 images of which no two differ'):
        split_off(split)


def test_every_class_can_be_learnt(tmp_path):
    """The only image of a class is not taken for validation."""
    split = read_layout(write_layout(tmp_path, 'single', 10, 0)).splits['train']
    for image in split.data['images']:
        rare = dict(split.data['annotations'][0], image_id=image['id'], category_id=7)
        data = {**split.data, 'annotations': [*split.data['annotations'], rare]}
        train, val = split_off(type(split)('train', split.images, data))
        assert len(val.paths) == 2 and len(train.paths) == 8
        assert image['id'] in {item['id'] for item in train.data['images']}


def test_image_scan(tmp_path):
    speckle(tmp_path / 'a.png', 0, size=100)
    turned = cv2.imread(str(tmp_path / 'a.png'))[:60]
    cv2.imwrite(str(tmp_path / 'b.jpg'), turned)
    exif = b'\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03' \
        b'\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00'
    data = (tmp_path / 'b.jpg').read_bytes()
    (tmp_path / 'b.jpg').write_bytes(data[:2] + exif + data[2:])
    assert scan_image(tmp_path / 'a.png').size == (100, 100)
    assert scan_image(tmp_path / 'b.jpg').size == (60, 100)  # as OpenCV turns it
    assert cv2.imread(str(tmp_path / 'b.jpg')).shape[:2] == (100, 60)
    plain = [np.full((40, 40, 3), value, np.uint8) for value in (90, 92)]
    for index, image in enumerate(plain):
        cv2.imwrite(str(tmp_path / f'plain{index}.png'), image)
    images = scan_images(sorted(tmp_path.iterdir()))
    assert similar_groups(images) == []
