"""Weights of objects: the data set, and the way through a pipeline."""
import json

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmyolonas.datasets import DataError, PseudoLabelDataset
from mmyolonas.datasets.weighted_labels import pack_weights, unpack_weights
from tests.test_datasets.coco_files import coco_dict, write_coco

# Every object has a class of its own, and its weight follows from the class.
NAMES = tuple(f'class{i}' for i in range(12))
SCORES = np.linspace(0.35, 0.9, 12)
PIPELINES = dict(
    ours=[dict(type='mmyolonas.YOLONASMixUp', prob=1., max_cached_images=4, transforms=[
        dict(type='mmyolonas.YOLONASRandomAffine', img_scale=(64, 64), flip_prob=0.5),
        dict(type='mmyolonas.HSVRandomAug')])],
    mosaic=[
        dict(type='CachedMosaic', img_scale=(64, 64), max_cached_images=6, random_pop=False),
        dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-32, -32)),
        dict(type='CachedMixUp', img_scale=(64, 64), max_cached_images=6)],
    crop=[dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 1.5), keep_ratio=True),
          dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True),
          dict(type='FilterAnnotations', min_gt_bbox_wh=(3, 3), keep_empty=False)])


def scored(data: dict, scores) -> dict:
    for annotation, score in zip(data['annotations'], scores):
        annotation['score'] = float(score)
    return data


def write(folder, steps=(), **kwargs) -> PseudoLabelDataset:
    boxes = [(1 + i // 3, i + 1, [4 + 18 * (i % 3), 5 + 2 * i, 14, 16]) for i in range(12)]
    data = scored(coco_dict(boxes, num_images=4, classes=NAMES), SCORES)
    write_coco(folder, data)
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='mmyolonas.LoadWeightedAnnotations', with_bbox=True), *steps,
                dict(type='RandomFlip', prob=0.5), dict(type='mmyolonas.PackWeightedDetInputs')]
    init_default_scope('mmdet')
    return PseudoLabelDataset(data_root=str(folder), ann_file='ann.json', pipeline=pipeline,
                              data_prefix=dict(img=''), metainfo=dict(classes=NAMES), **kwargs)


def test_labels_hold_weights():
    labels, weights = np.array([0, 3, 79, 364]), np.array([1, 0.25, 0, 0.7])
    packed = pack_weights(labels, weights)
    assert packed.dtype == np.int64 and packed[0] == 0
    np.testing.assert_array_equal(pack_weights(labels, np.ones(4)), labels)
    again, found = unpack_weights(packed)
    np.testing.assert_array_equal(again, labels)
    np.testing.assert_allclose(found, weights, atol=1e-6)
    assert found.dtype == np.float32
    again, found = unpack_weights(labels)
    assert (again == labels).all() and (found == 1).all()
    assert [len(part) for part in unpack_weights(pack_weights([], []))] == [0, 0]
    for wrong in (1.5, -0.1, float('nan')):
        with pytest.raises(ValueError, match='within 0 and 1'):
            pack_weights([0], [wrong])


@pytest.mark.parametrize('name', PIPELINES)
def test_weights_follow_their_objects(tmp_path, name):
    """Through mosaic, mixup, affine, flip, crop and filters, of this package and of mmdet."""
    dataset = write(tmp_path, PIPELINES[name])
    counts = []
    for index in [0, 1, 2, 3] * 6:
        instances = dataset[index]['data_samples'].gt_instances
        assert len(instances.weights) == len(instances.labels) == len(instances.bboxes)
        np.testing.assert_allclose(instances.weights, SCORES[instances.labels], atol=1e-6)
        counts.append(len(instances))
    assert sum(counts) > 24 and (name == 'crop') == (max(counts) <= 3)


@pytest.mark.long
def test_scores_become_weights(tmp_path):
    def weights(**kwargs) -> list:
        dataset = write(tmp_path, **kwargs)
        return [w for i in range(len(dataset))
                for w in dataset[i]['data_samples'].gt_instances.weights.tolist()]

    np.testing.assert_allclose(weights(), SCORES, atol=1e-6)
    np.testing.assert_allclose(weights(score_power=2, loss_weight=0.5), 0.5 * SCORES**2, atol=1e-6)
    np.testing.assert_allclose(weights(score_power=0), 1)
    np.testing.assert_allclose(weights(score_thr=0.6), SCORES[SCORES >= 0.6], atol=1e-6)
    by_class = weights(score_thr=dict(class0=0.5, class11=0.5))
    np.testing.assert_allclose(by_class, SCORES[1:], atol=1e-6)
    with pytest.raises(ValueError, match='loss_weight'):
        write(tmp_path, loss_weight=2)


@pytest.mark.parametrize('name', PIPELINES)
def test_uncertain_objects_are_regions_to_ignore(tmp_path, name):
    """Through the same pipelines: low scores are neither objects nor gone."""
    dataset = write(tmp_path, PIPELINES[name], score_thr=0.6, ignore_thr=0.45)
    objects, regions = [], []
    for index in [0, 1, 2, 3] * 6:
        sample = dataset[index]['data_samples']
        objects += sample.gt_instances.labels.tolist()
        regions += sample.ignored_instances.labels.tolist()
    assert set(objects) == set(np.flatnonzero(SCORES >= 0.6))
    assert set(regions) == set(np.flatnonzero((SCORES >= 0.45) & (SCORES < 0.6)))


def test_which_scores_are_uncertain(tmp_path):
    def flags(crowd=(), **kwargs) -> list:
        dataset = write(tmp_path)
        data = json.loads((tmp_path / 'ann.json').read_text())
        for annotation in data['annotations']:
            annotation['iscrowd'] = int(annotation['id'] in crowd)
        (tmp_path / 'ann.json').write_text(json.dumps(data))
        dataset = PseudoLabelDataset(data_root=str(tmp_path), ann_file='ann.json', pipeline=[],
                                     metainfo=dict(classes=NAMES), **kwargs)
        found = {i['bbox_label']: i['ignore_flag'] for d in dataset.load_data_list()
                 for i in d['instances']}
        return [found.get(label, '-') for label in range(12)]

    assert flags() == [0] * 12 and flags(score_thr=0.6) == ['-'] * 5 + [0] * 7
    assert flags(score_thr=0.6, ignore_thr=0.) == [1] * 5 + [0] * 7
    by_class = dict(score_thr=0.6, ignore_thr=dict(class1=0.1, class2=0.55))
    assert flags(**by_class) == ['-', 1, '-', '-', '-'] + [0] * 7
    # what the file marks stays uncertain, above and below the threshold
    assert flags(crowd=(1, 12), score_thr=0.6) == [1] + ['-'] * 4 + [0] * 6 + [1]
    assert flags(crowd=(1, 2), ignore_thr=0.39) == ['-', 1] + [0] * 10
    with pytest.raises(DataError, match='not one of its 12 pseudo-labels is certain enough'):
        flags(score_thr=0.95, ignore_thr=0.5)


def test_plain_pipeline_works_as_well(tmp_path):
    dataset = write(tmp_path)
    from mmcv.transforms import Compose
    dataset.pipeline = Compose([dict(type='LoadImageFromFile'),
                                dict(type='LoadAnnotations', with_bbox=True),
                                dict(type='PackDetInputs')])
    instances = dataset[1]['data_samples'].gt_instances
    assert instances.labels.tolist() == [3, 4, 5] and 'weights' not in instances


@pytest.mark.parametrize('score', [None, 1.7, 'high', float('nan')])
def test_labels_without_scores_are_refused(tmp_path, score):
    data = scored(coco_dict(), [0.5, 0.5])
    data['annotations'][1]['score'] = score
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    with pytest.raises(DataError, match='annotation 2 has no score within 0 and 1.*Checked|'
                                        'score of entry 1 of .* number'):
        PseudoLabelDataset(data_root=str(tmp_path), ann_file='ann.json', pipeline=[],
                           metainfo=dict(classes=('cat', 'dog')))
