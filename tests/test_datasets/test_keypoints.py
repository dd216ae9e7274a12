"""Key points: names, mirror partners, YOLO-pose files, what is wrong, how exact labels are."""
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmyolonas.datasets import DataError
from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.keypoints import Keypoints, mirror_partners, read_keypoints
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.datasets.inspection.image_scan import ScannedImage
from mmyolonas.datasets.inspection.pose_shape import (
    COCO_SIGMAS,
    estimate_sigmas,
    prediction_errors,
    uprightness,
)
from mmyolonas.datasets.inspection.poses import (
    PoseTable,
    inspect_poses,
    outside_boxes,
    pose_table,
)
from mmyolonas.datasets.inspection.records import DataReport, SplitReport
from mmyolonas.models.pose_heads.arguments import COCO_SIGMAS as PUBLISHED


def make_split(points, names=('nose', 'left_ear', 'right_ear'), categories=None, **more):
    """Return a part with an object an image; points (M, K, 3) in images of 100 x 100."""
    points = np.asarray(points, float)
    images = [dict(id=i, file_name=f'{i}.png', width=100, height=100) for i in range(len(points))]
    annotations = [dict(id=i + 1, image_id=i, category_id=1, bbox=[20., 20., 60., 60.],
                        area=3600., iscrowd=0, keypoints=item.ravel().tolist(), **more)
                   for i, item in enumerate(points)]
    category = dict(id=1, name='cat', **(dict(keypoints=list(names)) if names else {}))
    return CocoSplit('train', Path('/nowhere'), dict(
        images=images, annotations=annotations, categories=categories or [category]))


def inspected(split, keypoints):
    table = box_table(split, ('cat', ))
    part = SplitReport(split, [ScannedImage(path, (100, 100)) for path in split.paths], table)
    report = DataReport(None, ('cat', ), dict(train=part))
    return inspect_poses(report, keypoints), report


@pytest.mark.parametrize('names, pairs', [
    ('nose left_eye right_eye', [(1, 2)]), ('L_Ear R_Ear tail', [(0, 1)]),
    ('earL earR', [(0, 1)]), ('ear.l ear.r', [(0, 1)]), ('leftear rightear', [(0, 1)]),
    ('tl tr br bl', [(0, 1), (2, 3)]), ('top-left top-right', [(0, 1)]), ('lear rear', [(0, 1)]),
    ('RightHip LeftHip', [(0, 1)]), ('ohr_links ohr_rechts', [(0, 1)]),
    ('mano_izquierda mano_derecha', [(0, 1)]), ('bright leg neck', []),
    ('1_left 1_right', [(0, 1)]),
])
def test_partners_by_name(names, pairs):
    names = names.split()
    flip, alone = mirror_partners(names)
    expected = list(range(len(names)))
    for a, b in pairs:
        expected[a], expected[b] = b, a
    assert flip == tuple(expected) and alone == ()


def test_a_side_without_the_other():
    assert mirror_partners(['left_eye', 'nose']) == (None, ('left_eye', ))
    found = read_keypoints([make_split(np.ones((2, 3, 3)), ['left_eye', 'b c', 'tail'])], [])
    poses, report = inspected(make_split(np.full((30, 3, 3), 50)), found)
    assert any("'left_eye' name one side" in text for text in report.warnings)


def test_names_and_partners_of_the_data():
    """COCO's categories say it; numbers for names say nothing of a mirror."""
    split = make_split(np.ones((2, 3, 3)))
    split.data['categories'][0]['skeleton'] = [[1, 2], [1, 3], [1, 9], 'x']
    found = read_keypoints([split], [])
    assert found.flip == (0, 2, 1) and found.links == ((0, 1), (0, 2)) and found.named
    found = read_keypoints([make_split(np.ones((2, 3, 3)), ['1', 'kp_2', 'Point 3'])], [])
    assert found.flip is None and not found.named
    plain = read_keypoints([make_split(np.ones((2, 3, 3)), None)], [])
    assert plain.names == ('point 1', 'point 2', 'point 3') and plain.flip is None
    split.data['categories'][0]['flip_idx'] = [1, 0, 2]
    assert read_keypoints([split], []).flip == (1, 0, 2)
    for wrong in ([0, 1], [1, 2, 0], [0, 1, 'x'], 'no'):
        split.data['categories'][0]['flip_idx'] = wrong
        with pytest.raises(DataError, match='flip_idx must name for each of the 3 key points'):
            read_keypoints([split], [])


def test_classes_with_and_without_points():
    split = make_split(np.ones((4, 2, 3)), categories=[
        dict(id=1, name='cat', keypoints=['a b', 'c d']), dict(id=2, name='box')])
    for annotation in split.data['annotations'][2:]:
        annotation.update(category_id=2, keypoints=[])
    notes = []
    assert len(read_keypoints([split], notes).names) == 2
    assert len(split.data['annotations']) == 2 and "objects of 'box' have no key points" in notes[0]
    two = make_split(np.ones((4, 2, 3)), categories=[
        dict(id=1, name='cat', keypoints=['a', 'b']), dict(id=2, name='dog', keypoints=['a'])])
    two.data['annotations'][0].update(category_id=2, keypoints=[1, 1, 1])
    with pytest.raises(DataError, match="classes differ .'cat': 2, 'dog': 1"):
        read_keypoints([two], [])
    with pytest.raises(DataError, match='boxes but no key points'):
        read_keypoints([make_split(np.ones((2, 0, 3)), None)], [])


def test_yolo_pose_files(tmp_path):
    """Points in pixels, names and partners of the YAML; a detector still takes boxes alone."""
    for folder in ('images', 'labels'):
        (tmp_path / 'train' / folder).mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(tmp_path / 'train' / 'images' / f'{number}.png'),
                    np.zeros((50, 100, 3), np.uint8))
        (tmp_path / 'train' / 'labels' / f'{number}.txt').write_text(
            '0 0.5 0.5 0.4 0.4 0.4 0.6 2 0.6 0.6 1\n')
    text = 'names: [cat]\ntrain: train/images\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n'
    (tmp_path / 'data.yaml').write_text(text + 'kpt_names:\n  0:\n    - ear a\n    - ear b\n')
    layout = read_layout(tmp_path, poses=True)
    annotation = layout.splits['train'].data['annotations'][0]
    assert annotation['keypoints'] == [40., 30., 2., 60., 30., 1.]
    found = read_keypoints(layout.splits.values(), layout.notes)
    assert found.names == ('ear a', 'ear b') and found.flip == (1, 0)
    assert layout.notes == []
    plain = read_layout(tmp_path)
    assert 'keypoints' not in plain.splits['train'].data['annotations'][0]
    assert 'a detector needs none' in plain.notes[0]


def test_what_is_wrong_is_said():
    """Outside the box, outside the image, never labelled, always hidden, missing as (0, 0)."""
    points = np.tile([[50., 50, 2], [40, 40, 1], [0, 0, 0], [0, 0, 2]], (30, 1, 1))
    points[:3, 0] = (95, 50, 2)
    points[3, 0] = (130, 50, 2)
    names = ('nose', 'ear', 'tail', 'paw')
    poses, report = inspected(make_split(points, names), Keypoints(names, True, (0, 1, 2, 3)))
    text = '\n'.join(report.warnings)
    assert "'tail', 'paw' are never labelled" in text
    assert "'ear' are never visible" in text
    assert '3 of 59 labelled key points of train lie outside the box' in text
    assert '1 objects have key points outside of their image, which are not labelled' in text
    assert '30 key points lie in the corner (0, 0)' in text
    assert '30 (30)' in poses.to_text() and poses.to_dict()['counts']['train'][0]['seen'] == 29


def test_outside_boxes():
    """A point a twentieth outside its box is no fault."""
    table = PoseTable(np.array([[[10., 10], [9.6, 10], [9, 10], [-1, 10]]]),
                      np.array([[2, 2, 2, 0]]), {})
    outside = outside_boxes(np.array([[10., 10, 20, 20]]), table)
    assert outside.tolist() == [[False, False, True, False]]


def shapes(count, noise, angle, rng):
    """Return a rigid shape of six points, moved, turned, scaled and labelled with noise."""
    shape = np.array([[0., 0], [1, 0], [0, 1], [1.5, 1], [-1, 0.3], [0.4, -1]])
    turn = rng.uniform(-angle, angle, count)
    rotation = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], -1)
    size = rng.uniform(20, 60, (count, 1, 1))
    points = shape @ rotation.reshape(-1, 2, 2).transpose(0, 2, 1) * size + rng.uniform(
        100, 200, (count, 1, 2))
    points += rng.normal(0, noise, points.shape) * size
    return PoseTable(points, np.full(points.shape[:2], 2), {}), (size[:, 0, 0])**2


def test_sigmas_are_the_noise_of_the_labels():
    """Of a rigid shape the estimate is the noise of the labels, and a little more."""
    rng = np.random.default_rng(0)
    table, areas = shapes(400, 0.05, 3, rng)
    errors = prediction_errors(table, areas)
    assert (errors > 0.045).all() and (errors < 0.09).all()
    assert (prediction_errors(*shapes(400, 0.01, 3, rng)) < 0.02).all()
    sigmas, reason = estimate_sigmas([f'p {i}' for i in range(6)], table, areas)
    assert all(0.045 < sigma < 0.09 for sigma in sigmas) and 'upper bound' in reason
    few = PoseTable(table.points[:10], table.visible[:10], {})
    assert estimate_sigmas(['a b'] * 6, few, areas[:10])[0] == [0.05] * 6


def test_sigmas_of_coco():
    from mmpose.datasets.datasets.body import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    meta = parse_pose_metainfo(CocoDataset.METAINFO)
    names = [meta['keypoint_id2name'][index] for index in range(17)]
    empty = PoseTable(np.zeros((0, 17, 2)), np.zeros((0, 17), int), {})
    assert estimate_sigmas(names, empty, np.zeros(0))[0] == list(PUBLISHED)
    assert set(COCO_SIGMAS.values()) == set(PUBLISHED)
    assert estimate_sigmas(['LKnee', 'kneeR'], empty, np.zeros(0))[0] == [0.087, 0.087]
    assert mirror_partners(names)[0] == tuple(meta['flip_indices'])


def test_directions():
    rng = np.random.default_rng(0)
    assert uprightness(shapes(200, 0.01, 0.3, rng)[0]) > 0.95
    assert uprightness(shapes(200, 0.01, np.pi, rng)[0]) < 0.2


def test_numbers_that_do_not_fit():
    split = make_split(np.ones((2, 3, 3)))
    split.data['annotations'][1]['keypoints'] = [1, 2, 3, 4]
    with pytest.raises(DataError, match='annotation 2 has 4 numbers'):
        pose_table(split, box_table(split, ('cat', )), 3)
