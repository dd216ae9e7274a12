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

    @pytest.mark.parametrize('as_text', [False, True])
    def test_result_file_is_valid_for_a_server(self, tmp_path, as_text):
        """Scored by pycocotools alone against the file as it is, it gives the printed AP."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
        data, predictions = random_case(4)
        ids = {1: 90, 2: 17}  # neither 1, 2, nor in order
        data['categories'] = [dict(id=90, name='cat'), dict(id=3, name='cow'),
                              dict(id=17, name='dog')]
        for annotation in data['annotations']:
            annotation['category_id'] = ids[annotation['category_id']]
        if as_text:
            for entry in [*data['images'], *data['annotations']]:
                for key in ('id', 'image_id'):
                    if key in entry:
                        entry[key] = f'n{entry[key]}' if key == 'image_id' or 'width' in entry \
                            else entry[key]
        file, prefix = write(tmp_path, data), str(tmp_path / 'out' / 'mine')
        printed = evaluate(CheckedCocoMetric(ann_file=file, outfile_prefix=prefix), predictions)
        truth = COCO(file)
        scored = COCOeval(truth, truth.loadRes(f'{prefix}.bbox.json'), 'bbox')
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        assert round(scored.stats[0], 3) == printed['coco/bbox_mAP'] > 0.1
        rows = json.loads((tmp_path / 'out' / 'mine.bbox.json').read_text())
        assert {row['category_id'] for row in rows} == {90, 17}
        again = evaluate(CheckedCocoMetric(ann_file=file, outfile_prefix=prefix, format_only=True),
                         predictions)
        assert again == {} and json.loads(
            (tmp_path / 'out' / 'mine.bbox.json').read_text()) == rows

    def test_crowded_images(self, tmp_path, caplog):
        """150 objects, all found: 1, not 0.66; COCO's own number beside it."""
        rng = np.random.default_rng(0)
        boxes = [[4 * (i % 15), 4 * (i // 15), 3.5, 3.5] for i in range(150)]
        data = coco_dict([(1, 1, box) for box in boxes], num_images=1, classes=('cat', ))
        rows = [(0, float(rng.uniform(0.5, 1)), [x, y, x + w, y + h]) for x, y, w, h in boxes]
        file = write(tmp_path, data)
        found = evaluate(CheckedCocoMetric(ann_file=file, classwise=True), [(1, rows)], ('cat', ))
        assert found['coco/bbox_mAP'] == found['coco/cat_precision'] == 1
        assert found['coco/bbox_mAP_50'] == found['coco/bbox_mAP_s'] == 1
        data['info'] = {}
        expected = evaluate(CocoMetric(ann_file=write(tmp_path, data)), [(1, rows)], ('cat', ))
        assert found['coco/bbox_mAP_100'] == expected['coco/bbox_mAP'] < 0.7
        from mmyolonas.datasets.formats.coco_split import CocoSplit
        from mmyolonas.datasets.inspection.box_table import box_table
        from mmyolonas.evaluation.detection_report import evaluate_detections
        split = CocoSplit('val', tmp_path, data)
        detections = [dict(image_id=1, label=0, score=score, bbox=box)
                      for (_, score, _), box in zip(rows, boxes)]
        report = evaluate_detections('val', data, box_table(split, ('cat', )), detections,
                                     ('cat', ))
        assert report.ap == 1 and report.recall == 1

    def test_capped_model_is_said(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr('mmyolonas.evaluation.checked_coco_metric._warn', said.append)
        data = coco_dict([(1, 1, [i, i, 9, 9]) for i in range(30)], num_images=2)
        rows = [(0, 0.9, [i, i, i + 9, i + 9]) for i in range(20)]
        evaluate(CheckedCocoMetric(ann_file=write(tmp_path, data)), [(1, rows), (2, [])])
        assert len(said) == 1 and '1 images have more objects (up to 30) than the 20 det' in said[0]
        assert 'max_per_img' in said[0]
