"""What the checked pose data set accepts, repairs and refuses."""
import json
import logging

import numpy as np
import pytest

from mmyolonas.utils.data_error import DataError

from ..test_datasets.coco_files import write_image

pytest.importorskip('mmpose')
from mmpose.datasets.datasets.body import CocoDataset  # noqa: E402

from mmyolonas.datasets.checked_pose_dataset import CheckedPoseDataset  # noqa: E402

INFO = {i: dict(name=n, id=i, color=[0, 0, 0], type='', swap='') for i, n in enumerate('abc')}
META = dict(dataset_name='three', keypoint_info=INFO, skeleton_info={}, joint_weights=[1.] * 3,
            sigmas=[.1] * 3)
POINTS = [10, 11, 2, 20, 21, 1, 0, 0, 0]


def poses(**changes):
    """Three objects on two images of 64 x 48; ``changes`` are of the second object."""
    rows = [dict(id=i, image_id=1 + i // 3, category_id=1, bbox=[5, 6, 30 + i, 20], area=300,
                 iscrowd=0, num_keypoints=2, keypoints=list(POINTS)) for i in (1, 2, 3)]
    rows[1].update(changes)
    rows[1] = {key: value for key, value in rows[1].items() if value != 'gone'}
    images = [dict(id=i, file_name=f'{i}.jpg', width=64, height=48) for i in (1, 2)]
    return dict(images=images, annotations=rows, categories=[dict(id=1, name='thing')])


def build(folder, data=None, kind=CheckedPoseDataset, pipeline=()):
    folder.mkdir(exist_ok=True)
    if data is not None:
        (folder / 'ann.json').write_text(json.dumps(data))
    return kind(data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''),
                metainfo=META, data_mode='bottomup', test_mode=True, pipeline=list(pipeline),
                serialize_data=False)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr('mmyolonas.datasets.checked_pose_dataset.print_log',
                        lambda text, logger, level: said.append(text.split(': ', 1)[1]))
    assert logging.WARNING
    return said


def test_same_as_mmpose(tmp_path, warnings):
    ours, theirs = (build(tmp_path, poses(), kind) for kind in (CheckedPoseDataset, CocoDataset))
    assert len(ours) == len(theirs) == 2 and warnings == []
    for one, other in zip(ours.data_list, theirs.data_list):
        assert set(one) == set(other)
        for key in one:
            assert np.array_equal(np.asarray(one[key], object if key in (
                'raw_ann_info', 'raw_img_info', 'segmentation', 'invalid_segs') else None),
                np.asarray(other[key], object if key in (
                    'raw_ann_info', 'raw_img_info', 'segmentation', 'invalid_segs') else None)), key
    assert ours.metainfo['CLASSES'] == theirs.metainfo['CLASSES']


@pytest.mark.parametrize('points', ['gone', None, []])
def test_objects_without_key_points_stay(tmp_path, warnings, points):
    info = build(tmp_path, poses(keypoints=points)).data_list[0]
    assert info['bbox'].shape == (2, 4) and info['keypoints'].shape == (2, 3, 2)
    assert info['keypoints_visible'][1].max() == 0 and info['keypoints_visible'][0].sum() == 2
    assert warnings == ['1 of 3 objects have no key points; their boxes are kept']


@pytest.mark.parametrize('points,visible', [
    ([10, 11, 2, float('nan'), 21, 1, 0, 0, 0], [1, 0, 0]),
    ([10, 11, 2, float('inf'), 21, 1, 0, 0, 0], [1, 0, 0]),
    ([10, 11, 2, None, None, None, 4, 5, 2], [1, 0, 1]),
    (['10', '11', '2', '20', '21.5', '1', '0', '0', '0'], [1, 1, 0]),
    ([[10, 11, 2], [20, 21, 1], [0, 0, 0]], [1, 1, 0]),
    ([10, 11, 20, 21, 0, 0], [1, 1, 0])])
def test_other_spellings(tmp_path, points, visible):
    info = build(tmp_path, poses(keypoints=points)).data_list[0]
    assert info['keypoints_visible'][1].tolist() == visible
    assert np.isfinite(info['keypoints']).all()


@pytest.mark.parametrize('points,message', [
    ([1, 2, 2] * 4, 'annotation 2 has 4 key points, but 3 key points are expected'),
    ([1, 2, 2, 4], 'annotation 2 has 4 numbers, but 3 key points'),
    (['left', 2, 2] * 3, 'key points of annotation 2 must be numbers'),
    ({'nose': [1, 2]}, 'annotation 2 has 1 numbers'), (7, 'annotation 2 has 1 numbers')])
def test_what_cannot_be_understood(tmp_path, points, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, poses(keypoints=points))


def test_nothing_to_learn(tmp_path):
    data = poses()
    for row in data['annotations']:
        row['keypoints'] = [10, 11, 0] * 3
    with pytest.raises(DataError, match='not one key point of 3 objects is labelled'):
        build(tmp_path, data)
    for row in data['annotations']:
        row['keypoints'] = [.2, .3, 2, .4, .5, 2, .1, .7, 1]
    with pytest.raises(DataError, match='key points are fractions of the image'):
        build(tmp_path, data)
    for row in data['annotations']:
        row['iscrowd'] = 1
    with pytest.raises(DataError, match='all 3 boxes are marked iscrowd'):
        build(tmp_path, data)


def test_boxes(tmp_path, warnings):
    info = build(tmp_path, poses(bbox=[float('nan'), 1, 2, 3])).data_list[0]
    assert len(info['bbox']) == 1
    assert 'not finite numbers and were dropped' in warnings[0]
    with pytest.raises(DataError, match='box of annotation 2 must be four numbers'):
        build(tmp_path, poses(bbox=[1, 2]))


def test_images(tmp_path):
    dataset = build(tmp_path, poses(), pipeline=[dict(type='mmpose.LoadImage')])
    with pytest.raises(DataError, match="1.jpg' does not exist"):
        dataset[0]
    write_image(tmp_path / '1.jpg')
    assert dataset[0]['img'].shape == (48, 64, 3)
    data = (tmp_path / '1.jpg').read_bytes()
    (tmp_path / '1.jpg').write_bytes(data[:len(data) // 2])
    with pytest.raises(DataError, match='is cut short'):
        dataset[0]
