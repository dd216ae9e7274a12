"""Every export of a labelling tool gives the same boxes; what is not read is named."""
import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from tests.layout_files import write_layout
from tests.test_datasets.test_layouts import boxes_of


@pytest.fixture
def truth(tmp_path):
    """Six images with two boxes each, and what every reader must give."""
    root = write_layout(tmp_path / 'truth', 'single', 6, 0)
    data = json.loads((root / 'labels.json').read_text())
    return root, data, boxes_of(read_layout(root), 'train')


def objects_of(data, image):
    names = {c['id']: c['name'] for c in data['categories']}
    return [(names[a['category_id']], a['bbox']) for a in data['annotations']
            if a['image_id'] == image['id']]


def write_labelme(root, data):
    for image in data['images']:
        shapes = [dict(label=name, shape_type='rectangle', points=[[x, y], [x + w, y + h]])
                  for name, (x, y, w, h) in objects_of(data, image)]
        shapes.append(dict(label='eye', shape_type='point', points=[[3, 3]]))
        path = root / 'images' / Path(image['file_name']).with_suffix('.json')
        path.write_text(json.dumps(dict(
            version='5.0', flags={}, shapes=shapes, imagePath='..\\elsewhere\\renamed.png',
            imageData=None, imageHeight=64, imageWidth='64')))


def write_cvat(root, data):
    text = '<?xml version="1.0"?><annotations><version>1.1</version>'
    for image in data['images']:
        text += f'<image id="{image["id"]}" name="{image["file_name"]}" width="64" height="64">'
        for name, (x, y, w, h) in objects_of(data, image):
            text += (f'<box label="{name}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" '
                     'occluded="0"/>' if w % 2 else
                     f'<polygon label="{name}" points="{x},{y};{x + w},{y};{x + w},{y + h};'
                     f'{x},{y + h}"/>')
        text += '<points label="p" points="1,2"/></image>'
    (root / 'annotations.xml').write_text(text + '</annotations>')


def write_label_studio(root, data):
    tasks = []
    for image in data['images']:
        results = [dict(type='rectanglelabels', original_width=64, original_height=64,
                        value=dict(x=x / .64, y=y / .64, width=w / .64, height=h / .64,
                                   rectanglelabels=[name]))
                   for name, (x, y, w, h) in objects_of(data, image)]
        tasks.append(dict(id=1, annotations=[dict(result=results)],
                          data=dict(image=f'/data/upload/1/0a1b2c3d-{image["file_name"]}')))
    (root / 'project-1.json').write_text(json.dumps(tasks))


def write_createml(root, data):
    (root / '_annotations.createml.json').write_text(json.dumps([
        dict(image=image['file_name'], annotations=[
            dict(label=name, coordinates=dict(x=x + w / 2, y=y + h / 2, width=w, height=h))
            for name, (x, y, w, h) in objects_of(data, image)]) for image in data['images']]))


def write_via(root, data):
    (root / 'via.json').write_text(json.dumps({f'{image["file_name"]}123': dict(
        filename=image['file_name'], size=123, regions=[
            dict(shape_attributes=dict(name='rect', x=x, y=y, width=w, height=h),
                 region_attributes=dict(type=name))
            for name, (x, y, w, h) in objects_of(data, image)]) for image in data['images']}))


def table(rows, delimiter=','):
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue()


def write_csv(root, data):
    rows = [('filename', 'width', 'height', 'class', 'xmin', 'ymin', 'xmax', 'ymax')]
    rows += [(image['file_name'], 64, 64, name, x, y, x + w, y + h)
             for image in data['images'] for name, (x, y, w, h) in objects_of(data, image)]
    (root / '_annotations.csv').write_text(table(rows), encoding='utf-8-sig')


def write_kaggle(root, data):
    rows = [('image_id', 'width', 'height', 'bbox', 'label')]
    rows += [(Path(image['file_name']).stem, 64, 64, str(box), name)
             for image in data['images'] for name, box in objects_of(data, image)]
    (root / 'train.csv').write_text(table(rows, ';'))


def yolo_lines(data, image):
    order = [c['name'] for c in data['categories']]
    return ''.join(f'{order.index(name)} {(x + w / 2) / 64} {(y + h / 2) / 64} {w / 64} {h / 64}\n'
                   for name, (x, y, w, h) in objects_of(data, image))


def write_label_studio_yolo(root, data):
    (root / 'classes.txt').write_text('square\r\ndisc\r\n', encoding='utf-8-sig')
    (root / 'notes.json').write_text('{"categories": []}')
    (root / 'labels').mkdir()
    for image in data['images']:
        path = root / 'labels' / Path(image['file_name']).with_suffix('.txt')
        path.write_text(yolo_lines(data, image))


def write_cvat_yolo(root, data):
    (root / 'obj.names').write_text('square\ndisc\n')
    (root / 'obj.data').write_text('classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n')
    folder = root / 'obj_train_data'
    (root / 'images').rename(folder)
    for image in data['images']:
        (folder / Path(image['file_name']).with_suffix('.txt')).write_text(yolo_lines(data, image))
    (root / 'train.txt').write_text(''.join(
        f'data/obj_train_data/{image["file_name"]}\n' for image in data['images']))


KINDS = dict(labelme=write_labelme, cvat=write_cvat, labelstudio=write_label_studio,
             createml=write_createml, via=write_via, csv=write_csv, kaggle=write_kaggle,
             label_studio_yolo=write_label_studio_yolo, cvat_yolo=write_cvat_yolo)


@pytest.mark.parametrize('kind', KINDS)
def test_exports_agree(kind, truth, tmp_path):
    root, data, expected = truth
    shutil.rmtree(tmp_path / 'there', ignore_errors=True)
    (root / 'labels.json').unlink()
    KINDS[kind](root, data)
    (root / '._left.xml').write_bytes(b'\0\5\x16\7')
    (root / '._left.json').write_bytes(b'\0\5\x16\7')
    layout = read_layout(root)
    assert layout.format == dict(kaggle='csv').get(kind, 'yolo' if 'yolo' in kind else kind)
    assert boxes_of(layout, 'train') == expected
    if kind in ('labelme', 'cvat'):
        assert layout.notes == [f'6 {"point" if kind == "labelme" else "points"} shapes were left '
                                'out']


def test_parts_by_folder(truth):
    root, data, _ = truth
    (root / 'labels.json').unlink()
    write_labelme(root, data)
    for part, names in (('train', '012'), ('val', '345')):
        (root / part).mkdir()
        for path in list((root / 'images').iterdir()):
            if path.stem[-1] in names:
                path.rename(root / part / path.name)
    splits = read_layout(root).splits
    assert {name: len(split.paths) for name, split in splits.items()} == dict(train=3, val=3)


@pytest.mark.parametrize('kind', KINDS)
def test_damage_is_one_sentence(kind, truth):
    """Cut at any place, or with a value replaced."""
    root, data, _ = truth
    (root / 'labels.json').unlink()
    KINDS[kind](root, data)
    file = next(p for p in sorted(root.rglob('*')) if p.suffix in ('.json', '.xml', '.csv', '.txt')
                and p.name not in ('notes.json', 'classes.txt', 'train.txt'))
    text = file.read_text()
    numbers = [text[:len(text) * share // 7] for share in range(7)]
    for old in ('"points"', '64', 'label', ',', ':', '10', '"x"'):
        numbers.append(text.replace(old, 'nan'))
    for changed in numbers:
        file.write_text(changed)
        try:
            read_layout(root)
        except (DataError, UserError) as error:
            assert '\n' not in str(error)


@pytest.mark.parametrize('name,expected', [
    ('train-00000.tfrecord', 'TFRecord'), ('data.parquet', 'Hugging Face'),
    ('a.zip', 'unpack it first'), ('x.h5', 'DeepLabCut'), ('output.manifest', 'SageMaker')])
def test_other_formats_are_named(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b'x')
    with pytest.raises(DataError, match=f'holds no labels in a layout known here: this is.*'
                       f'{expected}'):
        read_layout(tmp_path)


def test_yolo_without_names(truth):
    root, data, _ = truth
    (root / 'labels.json').unlink()
    write_label_studio_yolo(root, data)
    (root / 'classes.txt').unlink()
    with pytest.raises(DataError, match="nothing names their classes: add a 'classes.txt'"):
        read_layout(root)
