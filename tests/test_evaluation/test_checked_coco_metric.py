"""The checked metric against pycocotools and mmdet's metric."""
import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric

from mmyolonas.evaluation import CheckedCocoMetric

from ..test_datasets.coco_files import CLASSES, coco_dict


def evaluate(metric, predictions, classes=CLASSES):
    """Run a metric; ``predictions`` holds (image id, [(label, score, xyxy), ...])."""
    metric.dataset_meta = dict(classes=classes)
    for img_id, rows in predictions:
        boxes = torch.tensor([row[2] for row in rows], dtype=torch.float32).reshape(-1, 4)
        instances = dict(
            bboxes=boxes,
            scores=torch.tensor([row[1] for row in rows], dtype=torch.float32),
            labels=torch.tensor([row[0] for row in rows], dtype=torch.long))
        metric.process({}, [dict(pred_instances=instances, img_id=img_id, ori_shape=(48, 64))])
    return metric.evaluate(size=len(predictions))


def write(tmp_path, data):
    file = tmp_path / 'gt.json'
    file.write_text(json.dumps(data))
    return str(file)


def random_case(seed):
    """Return a ground truth and predictions that hit some of it."""
    rng = np.random.default_rng(seed)
    boxes, predictions = [], []
    for image in range(1, 9):
        rows = []
        for _ in range(rng.integers(0, 5)):
            x, y = rng.uniform(0, 30, 2)
            w, h = rng.uniform(5, 18, 2)
            category = int(rng.integers(1, 3))
            boxes.append((image, category, [x, y, w, h]))
            moved = np.array([x, y, x + w, y + h]) + rng.normal(0, 1, 4)
            label = category - 1 if rng.random() < 0.8 else int(rng.integers(2))
            rows.append((label, float(rng.random()), moved.tolist()))
        rows.append((0, float(rng.random()), [0, 0, 9, 9]))
        predictions.append((image, rows))
    data = coco_dict(boxes, num_images=8)
    data['info'] = {}
    return data, predictions


class TestCheckedCocoMetric:

    @pytest.mark.parametrize('seed', range(3))
    def test_same_as_mmdet(self, tmp_path, seed):
        data, predictions = random_case(seed)
        file = write(tmp_path, data)
        expected = evaluate(CocoMetric(ann_file=file, classwise=True), predictions)
        actual = evaluate(CheckedCocoMetric(ann_file=file, classwise=True), predictions)
        assert actual == expected
        assert 0 < actual['coco/bbox_mAP'] < 1

    def test_class_order_and_super_category(self, tmp_path):
        """Order of metainfo, a box-less category of the same name, unsorted ids."""
        data, predictions = random_case(5)
        expected = evaluate(CocoMetric(ann_file=write(tmp_path, data), classwise=True),
                            predictions)
        data['categories'] = [dict(id=0, name='dog'), dict(id=9, name='dog'),
                              dict(id=4, name='cat')]
        for annotation in data['annotations']:
            annotation['category_id'] = {1: 4, 2: 9}[annotation['category_id']]
        swapped = [(i, [(1 - label, score, box) for label, score, box in rows])
                   for i, rows in predictions]
        actual = evaluate(CheckedCocoMetric(ann_file=write(tmp_path, data), classwise=True),
                          swapped, classes=('dog', 'cat'))
        assert actual == expected

    def test_annotation_id_zero(self, tmp_path):
        """pycocotools alone counts a hit on annotation 0 as a mistake."""
        data = coco_dict([(1, 1, [5, 5, 20, 20]), (2, 1, [8, 8, 20, 20])], classes=('cat', ))
        data['info'] = {}
        for annotation in data['annotations']:
            annotation['id'] -= 1
        hits = [(1, [(0, 0.9, [5, 5, 25, 25])]), (2, [(0, 0.8, [8, 8, 28, 28])])]
        file = write(tmp_path, data)
        assert evaluate(CheckedCocoMetric(ann_file=file), hits, ('cat', ))['coco/bbox_mAP'] == 1
        assert evaluate(CocoMetric(ann_file=file), hits, ('cat', ))['coco/bbox_mAP'] < 1

    def test_missing_fields(self, tmp_path):
        data, predictions = random_case(1)
        expected = evaluate(CocoMetric(ann_file=write(tmp_path, data)), predictions)
        del data['info']
        for annotation in data['annotations']:
            del annotation['iscrowd'], annotation['area']
        actual = evaluate(CheckedCocoMetric(ann_file=write(tmp_path, data)), predictions)
        assert actual['coco/bbox_mAP'] == expected['coco/bbox_mAP']

    def test_no_detections(self, tmp_path):
        data, predictions = random_case(2)
        nothing = [(image, []) for image, _ in predictions]
        metrics = evaluate(CheckedCocoMetric(ann_file=write(tmp_path, data)), nothing)
        assert metrics['coco/bbox_mAP'] == 0 and metrics['coco/bbox_mAP_50'] == 0
        metric = CheckedCocoMetric(ann_file=write(tmp_path, data), metric_items=['mAP'])
        assert evaluate(metric, nothing) == {'coco/bbox_mAP': 0}

    def test_format_only(self, tmp_path):
        data, predictions = random_case(2)
        metric = CheckedCocoMetric(ann_file=write(tmp_path, data), format_only=True,
                                   outfile_prefix=str(tmp_path / 'out'))
        assert evaluate(metric, predictions) == {}
        assert (tmp_path / 'out.bbox.json').exists()

    def test_built_by_name_under_any_scope(self, tmp_path):
        from mmengine.registry import METRICS, DefaultScope
        file = write(tmp_path, random_case(0)[0])
        for scope in ('mmdet', 'mmpose', None):
            DefaultScope._instance_dict.clear()
            if scope:
                DefaultScope.get_instance(f'metric_{scope}', scope_name=scope)
            metric = METRICS.build(dict(type='mmyolonas.CheckedCocoMetric', ann_file=file))
            assert type(metric) is CheckedCocoMetric
