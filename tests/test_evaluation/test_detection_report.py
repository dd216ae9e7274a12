"""Scores, threshold, confusion and mistakes against hand-made cases and the metric."""
import json

import cv2
import numpy as np
import pytest
import torch

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.evaluation import CheckedCocoMetric
from mmyolonas.evaluation.detection_report import evaluate_detections
from mmyolonas.utils.boxes import pairwise_iou
from mmyolonas.visualization.evaluation_report import draw_evaluation
from tests.layout_files import speckle

CLASSES = ('cat', 'dog', 'cow')


def make_split(folder, boxes, count=2):
    """Return a part of images of 64 x 64; ``boxes`` holds (image, label, xywh, crowd)."""
    images = [dict(id=10 + i, file_name=f'{i}.png', width=64, height=64) for i in range(count)]
    annotations = [
        dict(id=number, image_id=10 + image, category_id=label + 1, bbox=box, iscrowd=crowd,
             area=box[2] * box[3]) for number, (image, label, box, crowd) in enumerate(boxes)]
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    data = dict(images=images, annotations=annotations, categories=categories)
    path = folder / 'ann.json'
    path.write_text(json.dumps(data))
    for number in range(count):
        speckle(folder / f'{number}.png', number)
    return CocoSplit('val', folder, data, path)


def detection(image, label, box, score):
    return dict(image_id=10 + image, label=label, bbox=box, score=score)


@pytest.fixture
def case(tmp_path):
    """A hit, a wrong class, a miss, nothing there, one on a crowd, and a weak hit."""
    split = make_split(tmp_path, [
        (0, 0, [0, 0, 20, 20], 0), (0, 1, [30, 30, 20, 20], 0), (0, 0, [40, 0, 20, 20], 0),
        (1, 1, [0, 0, 30, 30], 0), (1, 0, [32, 32, 30, 30], 1)])
    found = [
        detection(0, 0, [1, 0, 20, 20], 0.9), detection(0, 0, [31, 30, 20, 20], 0.8),
        detection(1, 1, [40, 2, 10, 10], 0.7), detection(1, 0, [34, 34, 20, 20], 0.65),
        detection(1, 1, [0, 1, 30, 30], 0.6), detection(0, 0, [42, 0, 20, 20], 0.2)]
    return split, found


def test_scores_and_mistakes(case, tmp_path):
    split, found = case
    table = box_table(split, CLASSES)
    report = evaluate_detections('val', split.data, table, found, CLASSES)
    # by falling score: hit, wrong, wrong, (crowd), hit, hit of 4 objects
    np.testing.assert_allclose(report.curve.thresholds, [0.9, 0.8, 0.7, 0.6, 0.2])
    np.testing.assert_allclose(report.curve.precision, [1, 1 / 2, 1 / 3, 1 / 2, 3 / 5])
    np.testing.assert_allclose(report.curve.recall, [1 / 4, 1 / 4, 1 / 4, 1 / 2, 3 / 4])
    assert report.threshold == 0.2 and report.f1 == pytest.approx(6 / 9)
    report = evaluate_detections('val', split.data, table, found, CLASSES, threshold=0.5)
    assert (report.precision, report.recall) == (0.5, 0.5)
    assert report.confusion.tolist() == [
        [1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    titles = {mistake.title(CLASSES): mistake.severity for mistake in report.mistakes}
    assert titles == pytest.approx({
        'cat 0.80: is dog': 0.8, 'dog 0.70: nothing there': 0.7, 'cat missed': 0.8})
    cat, dog, cow = report.classes
    assert (cat.objects, dog.objects, cow.objects) == (2, 2, 0)
    assert (cat.precision, cat.recall, dog.precision, dog.recall) == (0.5, 0.5, 0.5, 0.5)
    assert np.isnan(cow.ap) and cow.precision == 0
    assert '| cow | 0 | no objects |' in report.to_text()
    assert json.loads(json.dumps(report.to_dict()))['classes'][2]['ap'] is None
    pictures = draw_evaluation(report, split, table, found, CLASSES, tmp_path / 'out')
    assert [path.stem for path in pictures] == [
        'confusion', 'threshold', 'classes', 'predictions', 'mistakes']
    assert all(cv2.imread(str(path)).std() > 5 for path in pictures)


def test_average_precision_is_that_of_the_metric(tmp_path):
    rng = np.random.default_rng(0)
    boxes = [(image, int(rng.integers(2)), [*map(int, rng.integers(0, 30, 2)),
                                            *map(int, rng.integers(8, 30, 2))], 0)
             for image in range(8) for _ in range(4)]
    split = make_split(tmp_path, boxes, 8)
    found = [detection(image, label if rng.random() < 0.8 else 1 - label,
                       [value + float(rng.normal(0, 1.5)) for value in box], float(rng.random()))
             for image, label, box, _ in boxes * 2]
    report = evaluate_detections('val', split.data, box_table(split, CLASSES), found, CLASSES)
    metric = CheckedCocoMetric(ann_file=str(split.ann_file), metric='bbox',
                               proposal_nums=(100, 1, 10))
    metric.dataset_meta = dict(classes=CLASSES)
    for image in split.data['images']:
        own = [d for d in found if d['image_id'] == image['id']]
        corners = torch.tensor([d['bbox'] for d in own]).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        instances = dict(
            bboxes=corners, scores=torch.tensor([d['score'] for d in own]),
            labels=torch.tensor([d['label'] for d in own]))
        metric.process({}, [dict(img_id=image['id'], ori_shape=(64, 64),
                                 pred_instances=instances)])
    expected = metric.evaluate(8)
    for name, value in (('', report.ap), ('_50', report.ap50), ('_75', report.ap75)):
        assert value == pytest.approx(expected[f'coco/bbox_mAP{name}'], abs=6e-4)
    assert 0.05 < report.ap < report.ap50 < 1


def test_no_detections(tmp_path):
    split = make_split(tmp_path, [(0, 0, [0, 0, 20, 20], 0)])
    table = box_table(split, CLASSES)
    report = evaluate_detections('val', split.data, table, [], CLASSES)
    assert (report.ap, report.f1, report.threshold) == (0, 0, 0.5)
    assert [mistake.kind for mistake in report.mistakes] == ['missed']
    draw_evaluation(report, split, table, [], CLASSES, tmp_path / 'out')


def test_pairwise_iou():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 30]], float)
    np.testing.assert_allclose(pairwise_iou(boxes[:2], boxes),
                               [[1, 1 / 3, 0], [1 / 3, 1, 0]])
    crowd = np.array([False, True, False])
    np.testing.assert_allclose(pairwise_iou(boxes[:1], boxes, crowd), [[1, 1 / 2, 0]])
