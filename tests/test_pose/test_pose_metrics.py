"""The metric path against pycocotools and mmpose on the same predictions."""
import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmyolonas.evaluation import PoseCocoMetric, PosePCKMetric
from mmyolonas.evaluation.pose_pck_metric import match_by_overlap

SIGMAS = np.linspace(0.03, 0.1, 5)
NAMES = ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR', 'AR .5', 'AR .75', 'AR (M)', 'AR (L)')


def annotations(first_id=1, seed=0):
    """Twelve images with persons, a crowd and persons without joints."""
    rng = np.random.default_rng(seed)
    images, rows = [], []
    for image in range(12):
        images.append(dict(id=image + 7, file_name=f'{image}.jpg', width=320, height=240))
        for person in range(image % 4):
            box = np.r_[rng.uniform(0, 100, 2), rng.uniform(30, 130, 2)]
            points = box[:2] + rng.uniform(0, 1, (5, 2)) * box[2:]
            seen = rng.integers(0, 3, 5) if person else np.zeros(5)
            if image == 5:
                seen[:] = 2
            rows.append(dict(
                id=first_id + len(rows), image_id=image + 7, category_id=1,
                iscrowd=int(image == 7 and person == 1), bbox=box.tolist(),
                area=float(box[2] * box[3] * 0.6), num_keypoints=int((seen > 0).sum()),
                keypoints=np.c_[points, seen].ravel().tolist()))
    return dict(images=images, annotations=rows, categories=[dict(id=1, name='person')])


def predictions(truth, seed=1):
    """Noisy, missing and superfluous poses, as data samples of mmpose."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in truth['images']:
        rows = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        rows = [a for a in rows if rng.random() < 0.8] + rows[:1]
        boxes = np.array([a['bbox'] for a in rows]).reshape(-1, 4)
        points = np.array([a['keypoints'] for a in rows]).reshape(-1, 5, 3)[..., :2]
        spread = rng.choice([0.5, 3, 9], (len(rows), 1, 1))
        points = points + rng.normal(0, 1, points.shape) * spread
        boxes[:, 2:] += boxes[:, :2]
        scores = rng.random(len(rows))
        samples.append(dict(
            id=[a['id'] for a in rows] or [0], img_id=image['id'], ori_shape=(240, 320),
            raw_ann_info=[a for a in truth['annotations'] if a['image_id'] == image['id']],
            gt_instances=dict(),
            pred_instances=dict(
                keypoints=points, keypoint_scores=np.ones(points.shape[:2]), bboxes=boxes,
                bbox_scores=scores)))
    return samples


def by_pycocotools(truth, samples):
    """The official script on the same poses."""
    rows = []
    for sample in samples:
        poses = sample['pred_instances']
        for points, score in zip(poses['keypoints'], poses['bbox_scores']):
            rows.append(dict(image_id=sample['img_id'], category_id=1, score=float(score),
                             keypoints=np.c_[points, np.ones(len(points))].ravel().tolist()))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), 'keypoints')
        evaluation.params.kpt_oks_sigmas = SIGMAS
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, evaluation.stats))


def evaluate(metric, samples, **meta):
    metric.dataset_meta = dict(dataset_name='test', num_keypoints=5, sigmas=SIGMAS, **meta)
    metric.process([], samples)
    return metric.compute_metrics(metric.results)


@pytest.fixture()
def truth_file(tmp_path):
    truth = annotations()
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(truth))
    return truth, str(path)


def test_agrees_with_pycocotools(truth_file):
    truth, path = truth_file
    samples = predictions(truth)
    expected = by_pycocotools(truth, samples)
    assert 0.2 < expected['AP'] < 0.9  # a case that can tell
    scores = evaluate(PoseCocoMetric(path), samples)
    # pycocotools takes the area of a pose from its points if it has no box
    assert tuple(scores) == NAMES
    for name in ('AP', 'AP .5', 'AP .75', 'AR', 'AR .5', 'AR .75'):
        assert scores[name] == pytest.approx(expected[name], abs=1e-6), name


def test_agrees_with_mmpose(truth_file):
    pytest.importorskip('mmpose')
    from mmpose.evaluation import CocoMetric
    truth, path = truth_file
    samples = predictions(truth)
    theirs = evaluate(
        CocoMetric(ann_file=path, score_mode='bbox', nms_mode='none'), samples)
    ours = evaluate(PoseCocoMetric(path), samples)
    for name in NAMES:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6), name


def test_ids_from_zero_and_missing_fields(tmp_path, truth_file):
    truth, path = truth_file
    expected = evaluate(PoseCocoMetric(path), predictions(truth))
    bare = annotations(first_id=0)
    for row in bare['annotations']:
        for field in ('num_keypoints', *(['iscrowd'] if not row['iscrowd'] else [])):
            row.pop(field)
        row['category_id'] = 4
    bare['categories'] = [dict(id=3, name='super'), dict(id=4, name='person')]
    other = tmp_path / 'bare.json'
    other.write_text(json.dumps(bare))
    assert evaluate(PoseCocoMetric(str(other)), predictions(truth)) == expected
    for row in bare['annotations']:
        row.pop('area')
    other.write_text(json.dumps(bare))
    assert evaluate(PoseCocoMetric(str(other)), predictions(truth))['AP .5'] > 0.2


def test_nothing_detected(truth_file):
    truth, path = truth_file
    samples = predictions(truth)
    for sample in samples:
        poses = sample['pred_instances']
        sample['pred_instances'] = {key: value[:0] for key, value in poses.items()}
    assert set(evaluate(PoseCocoMetric(path), samples).values()) == {0.0}


def test_wrong_number_of_sigmas(truth_file, tmp_path):
    truth, path = truth_file
    with pytest.raises(ValueError, match='has 5 key points, but 17 key points are expected'):
        evaluate(PoseCocoMetric(path, sigmas=[0.1] * 17), predictions(truth))
    broken = tmp_path / 'broken.json'
    broken.write_text('{"images": []}')
    with pytest.raises(ValueError, match="no list 'categories', 'annotations'"):
        evaluate(PoseCocoMetric(str(broken)), predictions(truth))


@pytest.mark.parametrize('as_text', [False, True])
def test_result_file_is_valid_for_a_server(tmp_path, as_text):
    """Scored by pycocotools alone against the file as it is, it gives the printed AP."""
    truth = annotations()
    samples = predictions(truth)
    for row in truth['annotations']:
        row['category_id'] = 44
    truth['categories'] = [dict(id=3, name='car'), dict(id=44, name='person')]
    if as_text:
        for row in [*truth['annotations'], *truth['images']]:
            key = 'image_id' if 'image_id' in row else 'id'
            row[key] = f'image {row[key]}'
        for number, sample in enumerate(samples, 1):
            sample['img_id'] = number
    path, prefix = tmp_path / 'truth.json', str(tmp_path / 'out' / 'mine')
    path.write_text(json.dumps(truth))
    printed = evaluate(PoseCocoMetric(str(path), outfile_prefix=prefix), samples)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
        scored = COCOeval(coco, coco.loadRes(f'{prefix}.keypoints.json'), 'keypoints')
        scored.params.kpt_oks_sigmas = SIGMAS
        scored.params.catIds = [44]
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert scored.stats[0] == pytest.approx(printed['AP'], abs=1e-9) and printed['AP'] > 0.1


def pck_sample(points, scores, boxes, objects):
    return dict(
        raw_ann_info=objects,
        pred_instances=dict(keypoints=np.array(points, float).reshape(-1, 2, 2),
                            bbox_scores=np.array(scores, float),
                            bboxes=np.array(boxes, float).reshape(-1, 4)))


def test_pck_by_hand():
    # Diagonals 50 and 100: the radius is 5 and 10 pixels.
    objects = [
        dict(bbox=[0, 0, 30, 40], keypoints=[10, 10, 2, 20, 20, 1]),
        dict(bbox=[100, 100, 60, 80], keypoints=[110, 110, 2, 0, 0, 0]),
        dict(bbox=[0, 0, 9, 9], keypoints=[1, 1, 2, 2, 2, 2], iscrowd=1),
    ]
    boxes = [[100, 100, 160, 180], [0, 0, 30, 40], [1, 1, 30, 40]]
    points = [[[110, 119], [7, 7]], [[14, 10], [20, 26]], [[10, 10], [20, 20]]]
    metric = PosePCKMetric(thr=0.1)
    metric.dataset_meta = dict(keypoint_id2name={0: 'a', 1: 'b'})
    metric.process([], [pck_sample(points, [0.5, 0.9, 0.4], boxes, objects)])
    scores = metric.compute_metrics(metric.results)
    # a: 9 px and 4 px off, both found; b: 6 px off, missed; the other is unseen.
    assert scores == {'PCK@0.1': 2 / 3, 'PCK@0.1 a': 1.0, 'PCK@0.1 b': 0.0}


def test_pck_without_poses_or_objects():
    objects = [dict(bbox=[0, 0, 30, 40], keypoints=[10, 10, 2, 20, 20, 1])]
    metric = PosePCKMetric()
    metric.process([], [pck_sample([], [], [], objects), pck_sample([], [], [], None)])
    assert len(metric.results) == 1
    assert metric.compute_metrics(metric.results)['PCK@0.1'] == 0
    assert metric.compute_metrics([]) == {'PCK@0.1': 0.0}


def test_match_is_exclusive():
    objects = np.array([[0, 0, 10, 10], [8, 0, 18, 10]], float)
    poses = np.array([[1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]], float)
    # The second best pose must take the other object.
    assert match_by_overlap(poses, objects).tolist() == [0, 1]
    assert match_by_overlap(poses[2:], objects).tolist() == [-1, -1]
