"""What the checked data set accepts, repairs and refuses."""
import json
import logging
import pickle

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmyolonas.datasets import CheckedCocoDataset, DataError
from mmyolonas.utils import image_checks

from .coco_files import CLASSES, coco_dict, write_coco, write_image

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True)]
PACK = [dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape'))]


def build(folder, pipeline=(), classes=CLASSES, **kwargs):
    """Build the data set of ``write_coco``'s folder."""
    return CheckedCocoDataset(
        data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''),
        metainfo=dict(classes=classes), pipeline=list(pipeline), **kwargs)


@pytest.fixture
def warnings():
    """Messages that print_log(logger='current') writes as warnings."""
    messages = []

    class Handler(logging.Handler):

        def emit(self, record):
            messages.append(record.getMessage())

    logger = MMLogger.get_instance('checked_coco_test')
    handler = Handler(level=logging.WARNING)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


class TestGoodData:

    def test_same_as_mmdet(self, tmp_path):
        folder = write_coco(tmp_path)
        kwargs = dict(data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''),
                      metainfo=dict(classes=CLASSES), serialize_data=False)
        ours, theirs = CheckedCocoDataset(**kwargs), CocoDataset(**kwargs)
        assert ours.data_list == theirs.data_list
        assert ours.cat_ids == theirs.cat_ids and ours.cat2label == theirs.cat2label
        assert ours.metainfo == theirs.metainfo

    def test_same_as_mmdet_on_coco(self, data_root):
        folder = data_root / 'tinycoco'
        kwargs = dict(data_root=str(folder), ann_file='annotations/instances_train2017.json',
                      data_prefix=dict(img='images/train2017/'), serialize_data=False,
                      filter_cfg=dict(filter_empty_gt=True, min_size=32))
        ours, theirs = CheckedCocoDataset(**kwargs), CocoDataset(**kwargs)
        assert len(ours) == len(theirs) > 0
        by_id = {info['img_id']: info for info in ours.data_list}
        for expected in theirs.data_list:
            actual = by_id[expected['img_id']]
            assert actual['img_path'] == expected['img_path']
            assert len(actual['instances']) == len(expected['instances'])
            for a, e in zip(actual['instances'], expected['instances']):
                assert np.allclose(a['bbox'], e['bbox'], atol=1)
                assert (a['bbox_label'], a['ignore_flag']) == (e['bbox_label'], e['ignore_flag'])

    def test_roboflow_layout(self, data_root):
        """Category 0, which has no boxes, is dropped by its name."""
        for split, images in (('train', 205), ('valid', 87), ('test', 72)):
            dataset = CheckedCocoDataset(
                data_root=str(data_root / 'bccd'), ann_file=f'{split}/_annotations.coco.json',
                data_prefix=dict(img=f'{split}/'), pipeline=[*LOAD, *PACK],
                metainfo=dict(classes=('Platelets', 'RBC', 'WBC')))
            assert len(dataset) == images
            assert dataset.cat2label == {1: 0, 2: 1, 3: 2}
            assert dataset[0]['inputs'].shape == (3, 480, 640)

    def test_super_category_with_the_name_of_a_class(self, tmp_path, warnings):
        data = coco_dict([(1, 1, [0, 0, 10, 10])])
        data['categories'].insert(0, dict(id=0, name='cat'))
        dataset = build(write_coco(tmp_path, data), serialize_data=False, test_mode=True)
        assert dataset.cat_ids == [1, 2]
        assert dataset.data_list[0]['instances'][0]['bbox_label'] == 0
        assert any('CheckedCocoMetric' in message for message in warnings)

    def test_labels_follow_metainfo(self, tmp_path, warnings):
        dataset = build(write_coco(tmp_path), classes=('dog', 'cat'), serialize_data=False,
                        test_mode=True)
        labels = [info['instances'][0]['bbox_label'] for info in dataset.data_list]
        assert labels == [1, 0]
        assert len(warnings) == 1 and 'CheckedCocoMetric' in warnings[0]

    def test_subset_of_classes(self, tmp_path, warnings):
        dataset = build(write_coco(tmp_path), classes=('dog', ), serialize_data=False)
        assert [len(info['instances']) for info in dataset.data_list] == [0, 1]
        assert warnings == [f"{tmp_path}/ann.json: 1 boxes of 'cat' were left out because "
                            'metainfo classes does not name them']

    def test_images_without_boxes(self, tmp_path):
        data = coco_dict([(1, 1, [0, 0, 10, 10])], num_images=3)
        folder = write_coco(tmp_path, data)
        dataset = build(folder, [*LOAD, *PACK])
        assert [len(dataset[i]['data_samples'].gt_instances) for i in range(3)] == [1, 0, 0]
        kept = build(folder, filter_cfg=dict(filter_empty_gt=True, min_size=0))
        assert len(kept) == 1

    def test_missing_area_crowd_and_segmentation(self, tmp_path):
        data = coco_dict()
        del data['annotations'][0]['area'], data['annotations'][0]['iscrowd']
        data['annotations'][1].update(iscrowd=1, segmentation=[[0, 0, 5, 0, 5, 5]])
        folder = write_coco(tmp_path, data)
        first, second = build(folder, serialize_data=False).data_list
        assert first['instances'][0]['ignore_flag'] == 0
        assert second['instances'][0]['ignore_flag'] == 1
        assert 'mask' not in second['instances'][0]
        masks = build(folder, serialize_data=False, with_mask=True).data_list
        assert masks[1]['instances'][0]['mask'] == [[0, 0, 5, 0, 5, 5]]

    def test_crowd_only_images_count_as_empty(self, tmp_path):
        data = coco_dict()
        data['annotations'][1]['iscrowd'] = 1
        dataset = build(write_coco(tmp_path, data), filter_cfg=dict(filter_empty_gt=True))
        assert len(dataset) == 1

    def test_test_set_without_annotations(self, tmp_path):
        data = coco_dict()
        del data['annotations']
        folder = write_coco(tmp_path, data)
        assert len(build(folder, test_mode=True)) == 2
        with pytest.raises(DataError, match="has no list 'annotations'"):
            build(folder)

    def test_lazy_init_touches_no_file(self):
        dataset = CheckedCocoDataset(data_root='nowhere', ann_file='x.json', lazy_init=True,
                                     metainfo=dict(classes=CLASSES))
        assert dataset.metainfo['classes'] == CLASSES


class TestBadBoxes:

    def test_dropped_and_clipped(self, tmp_path, warnings):
        boxes = [[10, 10, 20, 20], [-5, -5, 20, 20], [50, 40, 30, 30], [100, 10, 5, 5],
                 [20, 20, -10, 10], [20, 20, 0, 10], [1, 1, 0.5, 20], [float('nan'), 0, 5, 5],
                 [0, 0, 64.5, 48.5]]
        data = coco_dict([(1, 1, box) for box in boxes], num_images=1)
        dataset = build(write_coco(tmp_path, data), serialize_data=False)
        kept = [instance['bbox'] for instance in dataset.data_list[0]['instances']]
        assert kept == [[10, 10, 30, 30], [0, 0, 15, 15], [50, 40, 64, 48], [0, 0, 64, 48]]
        assert [message.split(': ', 1)[1] for message in warnings] == [
            '1 of 9 boxes have coordinates that are not finite numbers and were dropped',
            '2 of 9 boxes have zero or negative width or height and were dropped',
            '1 of 9 boxes lie outside their image and were dropped',
            '1 of 9 boxes are thinner than a pixel and were dropped',
            '2 of 9 boxes reach over the image border and were clipped']

    def test_no_warning_for_good_data(self, tmp_path, warnings):
        build(write_coco(tmp_path))
        assert warnings == []

    @pytest.mark.parametrize('box', [[1, 2, 3], None, ['a', 2, 3, 4], 7])
    def test_malformed(self, tmp_path, box):
        data = coco_dict([(1, 1, [1, 2, 3, 4]), (1, 1, box)])
        with pytest.raises(DataError, match='box of annotation 2 must be four numbers'):
            build(write_coco(tmp_path, data))

    def test_unknown_image(self, tmp_path, warnings):
        data = coco_dict([(1, 1, [1, 2, 3, 4]), (9, 1, [1, 2, 3, 4])])
        build(write_coco(tmp_path, data))
        assert len(warnings) == 1 and '1 boxes belong to image ids that are not in' in warnings[0]

    def test_no_boxes_at_all(self, tmp_path, warnings):
        """An error, unless images without objects are asked for."""
        folder = write_coco(tmp_path, coco_dict([]))
        with pytest.raises(DataError, match='not a single box: the model would learn to find no'):
            build(folder)
        assert len(build(folder, filter_cfg=dict(filter_empty_gt=False))) == 2
        assert len(warnings) == 1 and 'not a single box' in warnings[0]
        assert len(build(folder, test_mode=True)) == 2

    @pytest.mark.parametrize('test_mode', [False, True])
    @pytest.mark.parametrize('edit,cause', [
        (lambda a: a.update(iscrowd=1), 'all 8 boxes are marked iscrowd'),
        (lambda a: a.update(iscrowd='true'), 'all 8 boxes are marked iscrowd'),
        (lambda a: a.update(ignore=1), 'all 8 boxes are marked ignore'),
        (lambda a: a.update({'ignore' if a['id'] % 2 else 'iscrowd': 'yes'}), 'boxes are marked '),
        (lambda a: a.update(bbox=[v / 64 for v in a['bbox']]), 'boxes are fractions of the image'),
        (lambda a: a.update(bbox=[a['bbox'][0] + 64, *a['bbox'][1:]]), 'lie outside of their im'),
        (lambda a: a.update(bbox=[float('nan')] * 4), 'not finite numbers'),
        (lambda a: a.update(bbox=[0, 0, 0, 0]), 'zero or negative'),
        (lambda a: a.update(bbox=[a['bbox'][0], a['bbox'][1], a['bbox'][0] + a['bbox'][2],
                                  a['bbox'][1] + a['bbox'][3]]), 'the corners x1, y1, x2, y2'),
        (lambda a: a.update(bbox=[]), r'box of every annotation is empty \(\[\]\)'),
    ])
    def test_nothing_to_train_on(self, tmp_path, edit, cause, test_mode):
        """The cause is named instead of a training that finds nothing."""
        data = coco_dict([(1, 1, [20 + i, 20, 22, 20]) for i in range(8)], num_images=1)
        for annotation in data['annotations']:
            del annotation['area']
            edit(annotation)
        with pytest.raises(DataError, match=cause):
            build(write_coco(tmp_path, data), test_mode=test_mode)

    @pytest.mark.parametrize('no', [0, '0', False, 'false', None])
    def test_boxes_marked_ignore(self, tmp_path, warnings, no):
        data = coco_dict([(1, 1, [1, 2, 20, 20]), (1, 2, [5, 5, 20, 20])])
        data['annotations'][0]['ignore'], data['annotations'][1]['ignore'] = 1, no
        dataset = build(write_coco(tmp_path, data))
        assert [item['bbox_label'] for item in dataset[0]['instances']] == [1]
        assert len(warnings) == 1 and '1 boxes are marked ignore and were dropped' in warnings[0]

    def test_boxes_marked_ignore_may_stay_as_regions(self, tmp_path, warnings):
        data = coco_dict([(1, 1, [1, 2, 20, 20]), (1, 2, [5, 5, 20, 20])])
        data['annotations'][0]['ignore'] = 1
        dataset = build(write_coco(tmp_path, data), keep_ignored=True)
        assert [item['ignore_flag'] for item in dataset[0]['instances']] == [1, 0]
        assert not warnings
        data['annotations'][1]['ignore'] = 1
        with pytest.raises(DataError, match='all 2 boxes are marked ignore'):
            build(write_coco(tmp_path, data), keep_ignored=True)

    def test_boxes_at_the_border_are_no_corners(self, tmp_path):
        """A stated area or a few of them inside tell that width and height are meant."""
        boxes = [[1, 1, 64, 48]] * 8
        data = coco_dict([(1, 1, box) for box in boxes], num_images=1)
        for annotation in data['annotations']:
            annotation['area'] = 64 * 48
        build(write_coco(tmp_path, data))

    @pytest.mark.parametrize('mask', [
        [[float('nan')] * 6], [[1, 2, 3]], [[1, 2, 'a', 4, 5, 6]], [[1e30] * 6], 'text', 7,
        [None], dict(size=[48, 64], counts=[5]), dict(size=[48, 64], counts='!!'),
        dict(size=[1 << 40, 64], counts=[5]), dict(counts=[5]), dict(size=[48, 64])])
    def test_masks_that_crash_the_process(self, tmp_path, mask):
        data = coco_dict()
        data['annotations'][0]['segmentation'] = mask
        folder = write_coco(tmp_path, data)
        build(folder)
        with pytest.raises(DataError, match='segmentation of annotation 1 cannot be used'):
            build(folder, with_mask=True)

    def test_sound_masks(self, tmp_path):
        from pycocotools import mask as coder
        drawn = np.zeros((48, 64), np.uint8, order='F')
        drawn[5:20, 7:30] = drawn[30:40, 2:50] = 1
        code = coder.encode(drawn)
        data = coco_dict([(1, 1, [1, 1, 9, 9])] * 4)
        for annotation, mask in zip(data['annotations'], (
                dict(code, counts=code['counts'].decode()), dict(size=[48, 64], counts=[9, 3063]),
                [[1, 1, 5, 1, 5, 5]], ['1', '1', 5, 1, 5, 5])):
            annotation['segmentation'] = mask
        dataset = build(write_coco(tmp_path, data), with_mask=True, serialize_data=False,
                        pipeline=[LOAD[0], dict(type='mmdet.LoadAnnotations', with_mask=True)])
        masks = dataset[0]['gt_masks'].masks
        assert np.array_equal(masks[0], drawn) and masks[2].sum() == masks[3].sum() > 0


class TestOtherSpellings:
    """Sound data that exports write in another way."""

    def test_byte_order_mark_and_encodings(self, tmp_path):
        folder = write_coco(tmp_path)
        text = (folder / 'ann.json').read_text()
        for encoding in ('utf-8-sig', 'utf-16', 'utf-32'):
            (folder / 'ann.json').write_bytes(text.encode(encoding))
            assert len(build(folder)) == 2

    def test_numbers_as_text(self, tmp_path):
        data = coco_dict()
        expected = build(write_coco(tmp_path / 'a', data), serialize_data=False).data_list
        for image in data['images']:
            image.update(id=str(image['id']), width='64', height='48.0')
        for annotation in data['annotations']:
            annotation.update(
                id=str(annotation['id']), image_id=float(annotation['image_id']), area='400',
                category_id=f'{annotation["category_id"]}.0', iscrowd='0',
                bbox=[str(value) for value in annotation['bbox']])
        for category in data['categories']:
            category['id'] = str(category['id'])
        folder = tmp_path / 'b'
        (tmp_path / 'a').rename(folder)
        (folder / 'ann.json').write_text(json.dumps(data))
        found = build(folder, serialize_data=False).data_list
        for one, other in zip(found, expected):
            assert one['instances'] == other['instances'] and one['img_id'] == other['img_id']
            assert (one['width'], one['height']) == (64, 48)

    def test_other_ids(self, tmp_path):
        """Names or UUIDs as ids are numbered; references follow."""
        data = coco_dict()
        for image in data['images']:
            image['id'] = f'image-{image["id"]}'
        for annotation in data['annotations']:
            annotation['image_id'] = f'image-{annotation["image_id"]}'
        folder = write_coco(tmp_path, coco_dict())
        (folder / 'ann.json').write_text(json.dumps(data))
        infos = build(folder, serialize_data=False).data_list
        assert [info['img_id'] for info in infos] == [1, 2]
        assert [len(info['instances']) for info in infos] == [1, 1]

    def test_windows_paths(self, tmp_path):
        data = coco_dict()
        for image in data['images']:
            image['file_name'] = f'sub/{image["id"]}.png'
        folder = write_coco(tmp_path, data)
        text = json.dumps(data).replace('sub/', 'sub\\\\')
        (folder / 'ann.json').write_text(text)
        assert build(folder, [*LOAD, *PACK])[0]['inputs'].shape == (3, 48, 64)

    @pytest.mark.parametrize('name', [0, 7, 1.5, True])
    def test_names_that_are_numbers(self, tmp_path, name):
        dataset = build(write_coco(tmp_path, coco_dict(classes=(name, 'dog'))),
                        classes=(str(name), 'dog'), serialize_data=False)
        assert dataset.data_list[0]['instances'][0]['bbox_label'] == 0

    @pytest.mark.parametrize('name', [None, '', ' ', ['a'], {}])
    def test_names_that_are_none(self, tmp_path, name):
        with pytest.raises(DataError, match="name of entry 0 of 'categories' must be a text"):
            build(write_coco(tmp_path, coco_dict(classes=(name, 'dog'))))


class TestBadAnnotationFiles:

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match='ann.json.* does not exist: check data_root'):
            build(tmp_path)

    @pytest.mark.parametrize('share', [0, 0.3, 0.99])
    def test_cut_short(self, tmp_path, share):
        file = write_coco(tmp_path) / 'ann.json'
        text = file.read_text()
        file.write_text(text[:int(len(text) * share)])
        with pytest.raises(DataError, match='ann.json.* is not complete JSON.*cut short'):
            build(tmp_path)

    def test_binary(self, tmp_path):
        (tmp_path / 'ann.json').write_bytes(pickle.dumps([1, 2]) + b'\xff\xfe')
        with pytest.raises(DataError, match='is not text in UTF-8'):
            build(tmp_path)

    def test_not_coco(self, tmp_path):
        (tmp_path / 'ann.json').write_text('[1, 2]')
        with pytest.raises(DataError, match='not in COCO format: it holds a list'):
            build(tmp_path)
        (tmp_path / 'ann.json').write_text('{"images": []}')
        with pytest.raises(DataError, match="has no list 'categories', 'annotations'"):
            build(tmp_path)

    @pytest.mark.parametrize('kind,key', [
        ('images', 'file_name'), ('images', 'width'), ('annotations', 'bbox'),
        ('annotations', 'category_id'), ('categories', 'name')])
    def test_missing_key(self, tmp_path, kind, key):
        data = coco_dict()
        folder = write_coco(tmp_path, data)
        del data[kind][1][key]
        (folder / 'ann.json').write_text(json.dumps(data))
        with pytest.raises(DataError, match=f"entry 1 of '{kind}' has no '{key}'"):
            build(folder)

    @pytest.mark.parametrize('width', [0, None, -3, 'wide', float('nan'), 1e9, [64]])
    def test_bad_size(self, tmp_path, width):
        folder = write_coco(tmp_path)
        data = coco_dict()
        data['images'][0]['width'] = width
        (folder / 'ann.json').write_text(json.dumps(data))
        with pytest.raises(DataError, match="height and width of image '1.jpg' must be positive"):
            build(folder)

    @pytest.mark.parametrize('kind', ['images', 'annotations', 'categories'])
    def test_double_ids(self, tmp_path, kind):
        data = coco_dict()
        data[kind][1]['id'] = data[kind][0]['id']
        with pytest.raises(DataError, match=f"ids of '{kind}' must be unique.*'1'"):
            build(write_coco(tmp_path, data))

    def test_no_images(self, tmp_path):
        with pytest.raises(DataError, match='lists no images: the data set is empty'):
            build(write_coco(tmp_path, coco_dict([], num_images=0)))

    def test_all_images_filtered(self, tmp_path):
        data = coco_dict()
        for image in data['images']:
            image['width'] = image['height'] = 20
        folder = write_coco(tmp_path, data)
        with pytest.raises(DataError, match='leaves none of 2 images.*filter_empty_gt=False'):
            build(folder, filter_cfg=dict(filter_empty_gt=True, min_size=32))

    def test_undefined_category_id(self, tmp_path):
        data = coco_dict([(1, 1, [0, 0, 9, 9]), (1, 7, [0, 0, 9, 9]), (1, 8, [0, 0, 9, 9])])
        with pytest.raises(DataError, match="2 boxes have the category id '7', '8', which is not"):
            build(write_coco(tmp_path, data))

    def test_class_names_do_not_match(self, tmp_path, warnings):
        folder = write_coco(tmp_path)
        with pytest.raises(DataError, match="no category called 'Cat'; it has 'cat', 'dog': corr"):
            build(folder, classes=('Cat', 'dog'))
        with pytest.raises(DataError, match="no category called 'a', 'b'"):
            build(folder, classes=('a', 'b'), strict=False)
        dataset = build(folder, classes=('Cat', 'dog'), strict=False, serialize_data=False)
        assert dataset.data_list[1]['instances'][0]['bbox_label'] == 1
        assert any("no category is called 'Cat'" in message for message in warnings)

    @pytest.mark.parametrize('classes', ['cat', (), ('cat', 'cat')])
    def test_bad_classes(self, tmp_path, classes):
        folder = write_coco(tmp_path)
        with pytest.raises(DataError, match='metainfo classes must be a tuple of'):
            build(folder, classes=classes)


class TestImages:

    @pytest.fixture
    def folder(self, tmp_path):
        return write_coco(tmp_path)

    @pytest.mark.parametrize('kind', ['gray', 'rgba', 'gray16', 'color16', 'gray_alpha'])
    def test_unusual_pixels(self, folder, kind):
        """They load as three channels of 8 bits with the right values."""
        ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
        img = dict(
            gray=ramp,
            rgba=np.dstack([ramp, 255 - ramp, ramp // 2, 255 - ramp]),
            gray16=ramp.astype(np.uint16) * 256 + 77,
            color16=np.dstack([ramp, ramp, ramp // 2]).astype(np.uint16) * 256,
            gray_alpha=np.dstack([ramp] * 3 + [ramp]))[kind]
        file = folder / '1.png'
        assert cv2.imwrite(str(file), img)
        data = coco_dict()
        data['images'][0]['file_name'] = '1.png'
        (folder / 'ann.json').write_text(json.dumps(data))
        loaded = build(folder, [*LOAD, *PACK])[0]['inputs'].numpy()
        assert loaded.shape == (3, 48, 64) and loaded.dtype == np.uint8
        expected = dict(
            gray=[ramp] * 3, rgba=[ramp, 255 - ramp, ramp // 2], gray16=[ramp] * 3,
            color16=[ramp, ramp, ramp // 2], gray_alpha=[ramp] * 3)[kind]
        assert np.abs(loaded.astype(int) - np.array(expected)).max() <= 1

    def test_missing(self, folder):
        (folder / '1.jpg').unlink()
        with pytest.raises(DataError, match="1.jpg' does not exist: check data_root and"):
            build(folder, LOAD)[0]

    def test_empty_file(self, folder):
        (folder / '1.jpg').write_bytes(b'')
        with pytest.raises(DataError, match=r"1.jpg' is empty \(0 bytes\)"):
            build(folder, LOAD)[0]

    @pytest.mark.parametrize('suffix,name', [('jpg', 'JPEG'), ('png', 'PNG')])
    @pytest.mark.parametrize('lenient', [False, True])
    def test_cut_short(self, folder, suffix, name, lenient, monkeypatch):
        """With an OpenCV that decodes half a file, and with one that does not."""
        file = folder / f'1.{suffix}'
        write_image(file)
        content = file.read_bytes()
        file.write_bytes(content[:len(content) // 2])
        data = coco_dict()
        data['images'][0]['file_name'] = file.name
        (folder / 'ann.json').write_text(json.dumps(data))
        if lenient:
            monkeypatch.setattr(cv2, 'imdecode', lambda *args: np.zeros((48, 64, 3), np.uint8))
        message = rf'1.{suffix}. is cut short \({len(content) // 2} bytes of a {name}\)'
        with pytest.raises(DataError, match=message):
            build(folder, LOAD)[0]

    def test_bytes_behind_the_end_are_fine(self, folder):
        file = folder / '1.jpg'
        file.write_bytes(file.read_bytes() + b'appended by a camera')
        assert not image_checks.is_cut_short(file.read_bytes())
        assert image_checks.image_problem(str(file)) is None

    def test_not_an_image(self, folder):
        (folder / '1.jpg').write_text('<html>404 not found</html>')
        with pytest.raises(DataError, match='is a web page: the download went wrong'):
            build(folder, LOAD)[0]

    def test_damaged(self, folder):
        data = bytearray((folder / '1.jpg').read_bytes())
        data[2:-2] = bytes(len(data) - 4)
        (folder / '1.jpg').write_bytes(bytes(data))
        with pytest.raises(DataError, match='damaged JPEG'):
            build(folder, LOAD)[0]

    def test_skip(self, folder, warnings):
        (folder / '1.jpg').write_text('nothing')
        dataset = build(folder, [*LOAD, *PACK], bad_images='skip')
        for _ in range(3):
            assert dataset[0]['data_samples'].img_id == 2
        assert len(warnings) == 1 and 'skipped: image file' in warnings[0]
        testing = build(folder, LOAD, bad_images='skip', test_mode=True)
        with pytest.raises(DataError, match='not an image'):
            testing[0]

    def test_worker_keeps_the_sentence(self, folder):
        (folder / '2.jpg').write_text('nothing')
        loader = DataLoader(build(folder, [*LOAD, *PACK]), num_workers=1, batch_size=None)
        with pytest.raises(DataError, match="image file '.*2.jpg' is not an image"):
            list(loader)

    def test_pipeline_error_names_the_image(self, folder):
        dataset = build(folder, [*LOAD, dict(type='mmyolonas.CenterPad', size=(32, 32))])
        with pytest.raises(DataError, match="failed on image '.*1.jpg' with ValueError: an image "
                           'of 64x48 pixels does not fit'):
            dataset[0]

    def test_size_differs_from_annotation(self, folder, warnings):
        for name in ('1.jpg', '2.jpg'):
            write_image(folder / name, 48, 64)
        dataset = build(folder, [*LOAD, *PACK])
        dataset[0], dataset[1]
        assert len(warnings) == 1
        assert '48x64 pixels but the annotations say 64x48' in warnings[0]

    def test_wrong_argument(self, folder):
        with pytest.raises(ValueError, match='bad_images'):
            build(folder, bad_images='ignore')
