"""Every layout is found by itself and gives the same boxes; what is wrong is said."""
import json

import numpy as np
import pytest

from mmyolonas.datasets.formats.coco_split import data_classes
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.formats.yolo_names import read_names
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


def voc_of(root):
    """A VOC data set without lists; its images and XML files by stem."""
    write_layout(root, 'voc', 4, 0)
    for path in (root / 'ImageSets' / 'Main').iterdir():
        path.unlink()
    return sorted((root / 'JPEGImages').iterdir()), sorted((root / 'Annotations').iterdir())


def test_voc_own_name_before_filename(tmp_path):
    """Renumbered files: <filename> says the next image, which exists too."""
    expected = boxes_of(read_layout(write_layout(tmp_path / 'expected', 'voc', 4, 0)), 'train')
    images, files = voc_of(tmp_path / 'voc')
    for index, file in enumerate(files):
        other = images[(index + 1) % 4].name
        file.write_text(file.read_text().replace(images[index].name, other))
    layout = read_layout(tmp_path / 'voc')
    assert boxes_of(layout, 'train') == expected
    assert '4 XML files name another image' in layout.notes[0]
    # where there is none of its own name, the one that is named is taken
    for index, image in enumerate(images):
        image.rename(image.with_name(f'photo {index}.png'))
        files[index].write_text(files[index].read_text().replace(
            images[(index + 1) % 4].name, f'C:\\work\\photo {index}.png'))
    paths = read_layout(tmp_path / 'voc').splits['train'].paths
    assert [path.name for path in paths] == [f'photo {index}.png' for index in range(4)]


@pytest.mark.parametrize('kind', ['nested', 'split folders', 'macos', 'flat', 'utf-16'])
def test_voc_layouts(tmp_path, kind):
    expected = boxes_of(read_layout(write_layout(tmp_path / 'expected', 'voc', 4, 0)), 'train')
    root = tmp_path / 'voc'
    images, files = voc_of(root)
    if kind == 'nested':
        for folder in ('JPEGImages', 'Annotations'):
            for index, path in enumerate(sorted((root / folder).iterdir())):
                (path.parent / f'cam{index % 2}').mkdir(exist_ok=True)
                path.rename(path.parent / f'cam{index % 2}' / path.name)
    elif kind == 'split folders':
        (root / 'train').mkdir()
        (root / 'JPEGImages').rename(root / 'train' / 'images')
        (root / 'Annotations').rename(root / 'train' / 'annotations')
    elif kind == 'macos':
        for path in [*images, *files]:
            path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7' + bytes(90))
        (root / '__MACOSX' / 'Annotations').mkdir(parents=True)
        (root / '__MACOSX' / 'Annotations' / '._a.xml').write_bytes(b'\0\5\x16\7')
    elif kind == 'flat':
        for path in [*images, *files]:
            path.rename(root / path.name)
    else:
        for path in files:
            path.write_bytes(('<?xml version="1.0" encoding="utf-16"?>' + path.read_text()).encode(
                'utf-16'))
    layout = read_layout(root)
    assert layout.format == 'voc' and boxes_of(layout, 'train') == expected


def test_voc_never_takes_an_image_of_another_part(tmp_path):
    root = tmp_path / 'voc'
    images, files = voc_of(root)
    for part in ('train', 'val'):
        (root / part).mkdir()
        for path in (images[0], files[0]):
            (root / part / f'1{path.suffix}').write_bytes(path.read_bytes())
    for folder in ('JPEGImages', 'Annotations'):
        for path in (root / folder).iterdir():
            path.unlink()
    (root / 'JPEGImages').rmdir()
    (root / 'train' / '1.png').unlink()
    path, = read_layout(root).splits['train'].paths
    assert not path.exists() and path.parent.name == 'train'


@pytest.mark.parametrize('prefix', ['images\\\\', 'C:\\\\Users\\\\me\\\\data\\\\images\\\\',
                                    '/home/me/data/images/', './images/'])
def test_coco_paths_of_another_machine(tmp_path, prefix):
    expected = boxes_of(read_layout(write_layout(tmp_path / 'expected', 'single', 5, 0)), 'train')
    root = write_layout(tmp_path / 'coco', 'single', 5, 0)
    text = (root / 'labels.json').read_text().replace('"file_name": "', f'"file_name": "{prefix}')
    (root / 'labels.json').write_text(text)
    assert boxes_of(read_layout(root), 'train') == expected


@pytest.mark.parametrize('names', [
    '[square, disc]', '{0: square, 1: disc}', "{'0': square, '1': disc}", '{square: 0, disc: 1}',
    '\n- square\n- disc', '\n- 0: square\n- 1: disc',
    '\n- {id: 0, name: square}\n- {id: 1, name: disc}',
    'square, disc', '"[square, disc]"', 'names.txt', '{1: disc, 0: square}'])
@pytest.mark.parametrize('nc', ['', 'nc: 2', 'nc: "2"', 'nc: 2.0', 'nc: ~\ntest: null'])
def test_forms_of_names(tmp_path, names, nc):
    (tmp_path / 'names.txt').write_text('square\ndisc\n')
    (tmp_path / 'data.yaml').write_text(f'names: {names}\n{nc}\n')
    assert read_names(tmp_path / 'data.yaml') == ['square', 'disc']


def test_more_names(tmp_path):
    path = tmp_path / 'data.yaml'

    def names(text):
        path.write_text(text)
        return read_names(path)

    assert names('names: person') == ['person']
    assert names('names: "car, red"\nnc: 1') == ['car, red']
    quoted = ', '.join(f'"{i}": c{i}' for i in range(12))
    assert names(f'names: {{{quoted}}}') == [f'c{i}' for i in range(12)]
    assert names('names: [no, yes, 007, 1_0, 1e3, null, 2024-01-01, ~]') == [
        'no', 'yes', '007', '1_0', '1e3', 'null', '2024-01-01', '~']
    assert names('names: {1: a, 3: b}') == ['class 0', 'a', 'class 2', 'b']
    for text in ('names: {a: b}', 'names: {0: a, 0.0: b}', 'names: {-1: a}', 'names: [[a], [b]]',
                 'names: [a, ""]', 'names: {0: a, 99999999: b}', 'nc: 1', 'names: []',
                 'names: null', 'names: [a]\nnc: many', 'names: "a, b"\nnc: 3',
                 'names: "[a"', 'names: [a]\nnc: 3',
                 '- names', 'names: [' * 3000, 'names: {0: {a: b}}'):
        with pytest.raises((DataError, UserError)) as caught:
            names(text)
        assert '\n' not in str(caught.value), text


@pytest.mark.parametrize('shape,dims', [('kpt_shape: [4, 2]', 2), ('kpt_shape: ["4", 3]', 3),
                                        ('kpt_shape: "[4, 2]"', 2), ('kpt_shape: 4, 3', 3),
                                        ('kpt_shape: null', 2),
                                        ('', 2), ('', 3)])
def test_pose_rows_give_their_boxes(tmp_path, shape, dims):
    """With kpt_shape, and without one by the points' places."""
    root = write_layout(tmp_path / 'pose', 'yolo', 4, 0)
    expected = boxes_of(read_layout(root), 'train')
    rng = np.random.default_rng(0)
    for path in (root / 'train' / 'labels').iterdir():
        lines = []
        for line in path.read_text().splitlines():
            label, x, y, w, h = map(float, line.split())
            points = np.c_[x + w * rng.uniform(-.5, .5, 4), y + h * rng.uniform(-.5, .5, 4),
                           rng.integers(1, 3, 4)][:, :dims]
            lines.append(' '.join(map(str, [int(label), x, y, w, h, *points.ravel()])))
        path.write_text('\n'.join(lines))
    with open(root / 'data.yaml', 'a') as file:
        file.write(shape + '\n')
    layout = read_layout(root)
    assert boxes_of(layout, 'train') == expected
    assert 'each object has 4 key points' in layout.notes[0]
    (root / 'data.yaml').write_text((root / 'data.yaml').read_text() + 'kpt_shape: many\n')
    with pytest.raises(DataError, match='kpt_shape must be'):
        read_layout(root)


def test_outlines_of_one_length_are_no_poses(tmp_path):
    root = write_layout(tmp_path, 'yolo', 2, 0)
    for path in (root / 'train' / 'labels').iterdir():
        path.write_text('0 .1 .1 .4 .1 .5 .3 .4 .5 .1 .5 .05 .3\n')
    for annotation in read_layout(root).splits['train'].data['annotations']:
        assert np.allclose(annotation['bbox'], [3.2, 6.4, 28.8, 25.6])


def test_yolo_in_pixels(tmp_path):
    root = write_layout(tmp_path, 'yolo', 2, 0)
    for path in (root / 'train' / 'labels').iterdir():
        path.write_text('0 20 30 10 12\n')
    with pytest.raises(DataError, match='in pixels or percent'):
        read_layout(root)


@pytest.mark.parametrize('train', [
    'train/images', '../train/images', './train/images', '/content/data/train/images',
    'C:\\\\data\\\\train\\\\images', '[train/images]', 'train', 'list.txt'])
def test_yolo_paths_relative_to_anything(tmp_path, train):
    root = write_layout(tmp_path / 'y', 'yolo', 3, 0)
    names = sorted(path.name for path in (root / 'train' / 'images').iterdir())
    (root / 'list.txt').write_bytes(('\ufeff' + '\r\n'.join(
        f'D:\\x\\train\\images\\{name}' for name in names)).encode())
    (root / 'data.yaml').write_text(f'names: [a, b]\npath: /nowhere\ntrain: {train}\n'.replace(
        '\\\\', '\\'))
    assert [path.name for path in read_layout(root).splits['train'].paths] == names
