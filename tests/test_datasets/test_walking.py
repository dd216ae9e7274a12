"""Links, foreign pictures, other encodings: what lies in a folder is read or spoken of."""
import json
import shutil

import numpy as np
import pytest

from mmyolonas.datasets.formats.box_causes import check_boxes
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.formats.splitting import split_off
from mmyolonas.datasets.formats.walking import files_below
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.datasets.inspection.report import inspect_data
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.images import find_images
from tests.layout_files import write_layout
from tests.test_datasets.test_layouts import boxes_of
from tests.test_datasets.test_tool_exports import KINDS

FOLDERS = {'yolo': ('train', ), 'voc': ('JPEGImages', 'Annotations'),
           'coco': ('train 2017', 'annotations')}


def export(root, kind):
    """Write an export of a tool; return what its boxes are."""
    write_layout(root, 'single', 4, 0)
    data = json.loads((root / 'labels.json').read_text())
    expected = boxes_of(read_layout(root), 'train')
    (root / 'labels.json').unlink()
    KINDS[kind](root, data)
    return expected


@pytest.mark.parametrize('kind', FOLDERS)
def test_links_to_folders(kind, tmp_path):
    """Images and labels may be links, and links may lead back."""
    root = write_layout(tmp_path / 'data', kind, 4, 0)
    expected = boxes_of(read_layout(root), 'train')
    for name in FOLDERS[kind]:
        shutil.move(root / name, tmp_path / name)
        (root / name).symlink_to(tmp_path / name)
    (root / 'loop').symlink_to('.')
    (root / 'other').symlink_to('.')
    (root / 'self').symlink_to('self')
    (root / 'nowhere.json').symlink_to('missing')
    layout = read_layout(root)
    assert boxes_of(layout, 'train') == expected and not layout.notes


@pytest.mark.parametrize('kind', ['labelme', 'cvat', 'csv', 'label_studio_yolo'])
def test_links_to_the_images_of_an_export(kind, tmp_path):
    root = tmp_path / 'data'
    expected = export(root, kind)
    shutil.move(root / 'images', tmp_path / 'images')
    (root / 'images').symlink_to(tmp_path / 'images')
    layout = read_layout(root)
    assert boxes_of(layout, 'train') == expected
    assert all(path.is_file() for path in layout.splits['train'].paths)


def test_each_file_once(tmp_path):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'b' / '1.XML').touch()
    (tmp_path / 'a' / '2.txt').touch()
    (tmp_path / '0').symlink_to('a')
    (tmp_path / 'a' / 'up').symlink_to('..')
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert sorted(found) == ['a/2.txt', 'a/b/1.XML']
    assert [path.name for path in files_below(tmp_path, ('.xml', ))] == ['1.XML']
    assert not list(files_below(tmp_path, ('.xml', ), depth=1))
    assert not list(files_below(tmp_path / 'missing'))


def test_unused_files_are_spoken_of(tmp_path):
    root = write_layout(tmp_path, 'yolo', 4, 0)
    images = sorted((root / 'train' / 'images').iterdir())
    labels = sorted((root / 'train' / 'labels').iterdir())
    images[0].rename(images[0].with_suffix('.heic'))
    labels[1].rename(labels[1].with_suffix('.TXT'))  # of a case-preserving system
    layout = read_layout(root)
    assert len(boxes_of(layout, 'train')) == 6
    assert len(layout.notes) == 2
    assert '1 pictures are of formats that are not read' in layout.notes[0]
    assert '1 text files with labels belong to no image' in layout.notes[1]


def test_images_without_labels_are_spoken_of(tmp_path):
    root = write_layout(tmp_path, 'voc', 4, 0)
    shutil.rmtree(root / 'ImageSets')
    sorted((root / 'Annotations').iterdir())[0].unlink()
    note, = read_layout(root).notes
    assert note.startswith('1 images beside those of the data set are in no part of it')


def test_folder_with_pictures_of_other_formats(tmp_path):
    (tmp_path / 'a.png').touch()
    (tmp_path / 'b.HEIC').touch()
    (tmp_path / 'folder.png').mkdir()
    with pytest.warns(UserWarning, match=r'1 pictures .* the first is b\.HEIC'):
        assert find_images([str(tmp_path)]) == [tmp_path / 'a.png']


@pytest.mark.parametrize('kind', ['labelme', 'csv', 'labelstudio'])
def test_utf16_exports(kind, tmp_path):
    expected = export(tmp_path, kind)
    for path in (*tmp_path.rglob('*.json'), *tmp_path.rglob('*.csv')):
        path.write_text(path.read_text(encoding='utf-8-sig'), encoding='utf-16')
    assert boxes_of(read_layout(tmp_path), 'train') == expected


def test_long_values_before_what_a_format_is_known_by(tmp_path):
    expected = export(tmp_path, 'labelme')
    path = sorted(tmp_path.rglob('*.json'))[0]
    value = json.loads(path.read_text())
    value.pop('imageData')
    path.write_text(json.dumps(dict(imageData='A' * 100_000, **value)))
    (tmp_path / 'settings.json').write_text('{}')
    layout = read_layout(tmp_path)
    assert boxes_of(layout, 'train') == expected
    assert layout.notes[1].startswith('1 .json files are not as labelme writes them')


def test_xml_of_other_encodings(tmp_path):
    root = write_layout(tmp_path, 'voc', 4, 0)
    first, second, third, fourth = sorted((root / 'Annotations').iterdir())

    def write(path, encoding, stated, name='square'):
        text = f'<?xml version="1.0" encoding="{stated}"?>' + path.read_text()
        path.write_bytes(text.replace('square', name).encode(encoding))

    # what GB2312 has no character for is left as a reference, as its writers do
    first.write_text(first.read_text().replace('ä', '&#228;'), encoding='utf-8')
    write(first, 'gb2312', 'GB2312', '方')
    write(second, 'utf-16', 'utf-16')
    write(third, 'latin-1', 'ISO-8859-1')
    layout = read_layout(root)
    assert [c['name'] for c in layout.splits['train'].data['categories']] == [
        'disc', 'square', '方']
    write(fourth, 'latin-1', 'utf-8')
    with pytest.raises(DataError, match='not in the encoding that its first line says'):
        read_layout(root)


def test_boxes_of_unknown_images_outlive_the_division(tmp_path):
    root = write_layout(tmp_path, 'single', 6, 0)
    split = read_layout(root).splits['train']
    split.data['annotations'][0]['image_id'] = 77
    train, val = split_off(split)
    assert box_table(train, ('square', 'disc')).problems == {
        'belong to an image that is not in the file and were dropped': 1}
    assert len(train.data['annotations']) + len(val.data['annotations']) == 12


def test_stated_areas_tell_corners_from_sizes():
    """Of boxes in the upper left both readings fit the image."""
    boxes = np.array([[10., 10., 30., 40.]] * 6) + np.arange(6)[:, None]
    sizes = np.full((6, 2), 200.)
    areas = [dict(area=float(area)) for area in (boxes[:, 2:] - boxes[:, :2]).prod(1)]
    with pytest.raises(DataError, match='the boxes are the corners'):
        check_boxes(boxes, sizes, areas, np.ones(6, bool), 'a.json')
    for annotations in ([{}] * 6, [dict(area=float(a)) for a in boxes[:, 2:].prod(1)]):
        check_boxes(boxes, sizes, annotations, np.ones(6, bool), 'a.json')


def test_decimal_commas(tmp_path):
    root = write_layout(tmp_path, 'yolo', 4, 0)
    expected = boxes_of(read_layout(root), 'train')
    for path in (root / 'train' / 'labels').iterdir():
        path.write_text(path.read_text().replace('.', ','))
    assert boxes_of(read_layout(root), 'train') == expected


@pytest.mark.parametrize('names,nc', [('|\n  square\n  disc', 2), ('|\n  - square\n  - disc', 2),
                                      ('square disc', 2), ('square; disc', 2)])
def test_names_in_one_text(names, nc, tmp_path):
    root = write_layout(tmp_path, 'yolo', 4, 0)
    (root / 'data.yaml').write_text(f'train: train/images\nnc: {nc}\nnames: {names}\n')
    categories = read_layout(root).splits['train'].data['categories']
    assert [c['name'] for c in categories] == ['square', 'disc']


def test_names_from_one_and_labels_from_zero(tmp_path):
    root = write_layout(tmp_path, 'yolo', 4, 0)
    (root / 'data.yaml').write_text('train: train/images\nnames: {1: square, 2: disc}\n')
    with pytest.raises(DataError, match='numbers its names from 1, but there are labels of class'):
        read_layout(root)
    for path in (root / 'train' / 'labels').iterdir():
        path.write_text(''.join(f'{int(line[0]) + 1}{line[1:]}\n'
                                for line in path.read_text().splitlines()))
    assert len(boxes_of(read_layout(root), 'train')) == 8


def test_xml_with_a_namespace(tmp_path):
    root = write_layout(tmp_path, 'voc', 4, 0)
    expected = boxes_of(read_layout(root), 'train')
    for path in (root / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('<annotation>', '<annotation xmlns="http://x">'))
    assert boxes_of(read_layout(root), 'train') == expected


@pytest.mark.parametrize('name,text,expected', [
    ('0.txt', 'Car 0.00 0 -1.5 10 20 50 60 1.5 1.6 3.7 1 2 3 -1.6\n', 'KITTI'),
    ('0.txt', 'gsd:0.1\n10 10 50 10 50 40 10 40 plane 0\n', 'DOTA'),
    ('0.txt', '10 10 50 10 50 40 10 40 plane 0\n', 'DOTA'),
    ('gt.txt', 'a/0.jpg\n1\n10 20 30 40 0 0 0 0 0 0\n', 'WIDER FACE'),
    ('0.txt', '10,20,30,40,1,4,0,0\n', 'VisDrone or MOT'),
    ('a.xml', "<?xml version='1.0'?>\n<dataset><images><image file='0.png'><box top='1'/>", 'dlib'),
    ('a.xml', '<sequence name="x"><frame num="1">', 'UA-DETRAC'),
    ('a.json', '{"info": {}, "categories": {}, "items": []}', 'Datumaro'),
    ('a.json', '[{"ID": "x", "DataRow": {"externalId": "0.png"}}]', 'Labelbox'),
    ('a.json', '[{"image_id": 1, "category_id": 1, "bbox": [], "score": 0.9}]', 'COCO results'),
    ('a.csv', 'filename,region_count,region_shape_attributes\n', 'a table of VIA'),
    ('a.csv', 'image_id,PredictionString\n0,cat 1 2 3 4\n', 'one cell'),
    ('a.csv', 'images/0.png,10,20,40,60,cat\n', 'names its columns')])
def test_other_labels_are_named_by_their_content(name, text, expected, tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '0.png').touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f'holds no labels in a layout known here: .*{expected}'):
        read_layout(tmp_path)


def test_centres_in_place_of_corners():
    """Objects at the right and lower border give them away."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(20, 60, (40, 2))
    corner = rng.uniform(0, 100 - sides)
    sizes = np.full((40, 2), 100.)
    usable = np.ones(40, bool)
    check_boxes(np.hstack([corner, sides]), sizes, [{}] * 40, usable, 'a.json')
    with pytest.raises(DataError, match='x and y of the boxes are their centres'):
        check_boxes(np.hstack([corner + sides / 2, sides]), sizes, [{}] * 40, usable, 'a.json')


def test_yolo_boxes_as_corners(tmp_path):
    root = write_layout(tmp_path, 'yolo', 6, 0)
    for path in (root / 'train' / 'labels').iterdir():
        rows = np.loadtxt(path, ndmin=2)
        rows[:, 1:] = np.hstack([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2])
        np.savetxt(path, rows, '%g')
    with pytest.raises(DataError, match='are two corners'):
        read_layout(root)


def test_table_with_decimal_commas(tmp_path):
    expected = export(tmp_path, 'csv')
    path = tmp_path / '_annotations.csv'
    lines = [line.split(',') for line in path.read_text(encoding='utf-8-sig').splitlines()]
    path.write_text('\n'.join(';'.join([*line[:4], *(f'{v},0' if v.isdigit() else v
                                                     for v in line[4:])]) for line in lines))
    assert boxes_of(read_layout(tmp_path), 'train') == expected


def test_long_names_are_cut(tmp_path):
    """In tables and messages; the class keeps its name."""
    root = write_layout(tmp_path, 'single', 6, 0)
    data = json.loads((root / 'labels.json').read_text())
    data['categories'][0]['name'] = 'x' * 100_000
    (root / 'labels.json').write_text(json.dumps(data))
    report = inspect_data(read_layout(root))
    assert 'x' * 100_000 in report.classes and len(report.to_text()) < 5000
    data['categories'][1]['name'] = 'x' * 100_000
    (root / 'labels.json').write_text(json.dumps(data))
    with pytest.raises(DataError, match='2 categories are called') as caught:
        inspect_data(read_layout(root))
    assert len(str(caught.value)) < 600
