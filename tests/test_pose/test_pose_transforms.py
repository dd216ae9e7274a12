"""The pose transforms against cases worked out by hand."""
import cv2
import numpy as np
import pytest
import torch

from mmyolonas.datasets.transforms import (
    PoseBrightnessContrast,
    PoseMosaic,
    PosePackLabels,
    PoseRandomAffine,
    PoseRandomFlip,
    PoseRandomRot90,
    PoseRemoveSmall,
    PoseResizePad,
    PoseSanitize,
)
from mmyolonas.datasets.transforms.pose_functional import (
    sanitize,
    select_instances,
    transform_boxes,
)


def sample(height=40, width=60, seed=0, num=2):
    """Instances whose joints are marked by unique pixel colours."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    points = np.zeros((num, 3, 2), np.float32)
    for n in range(num):
        for k in range(3):
            x, y = rng.integers(2, width - 2), rng.integers(2, height - 2)
            image[y, x] = (50 + n, 100 + 40 * k, 7)
            points[n, k] = x, y
    boxes = np.concatenate([points.min(1), points.max(1) + 1], 1)
    return dict(
        img=image,
        img_shape=(height, width),
        ori_shape=(height, width),
        bbox=boxes,
        bbox_score=np.ones(num, np.float32),
        keypoints=points,
        keypoints_visible=np.ones((num, 3), np.float32),
        area=np.prod(boxes[:, 2:] - boxes[:, :2], 1),
        category_id=np.ones(num, int),
        iscrowd=[0] * num,
        flip_indices=[0, 2, 1])


def assert_marks(results, order=(0, 1, 2)):
    """Every joint still lies on the pixel that carries its colour."""
    for n, points in enumerate(results['keypoints']):
        for k, (x, y) in enumerate(points):
            colour = results['img'][int(y), int(x)]
            assert tuple(colour) == (50 + n, 100 + 40 * order[k], 7)


def test_flip_swaps_left_and_right():
    results = PoseRandomFlip(prob=1.0)(sample())
    # flip_indices exchanges joints 1 and 2, the pixels keep their colours.
    assert_marks(results, order=(0, 2, 1))
    before = sample()
    np.testing.assert_array_equal(results['bbox'][:, 0],
                                  60 - before['bbox'][:, 2])
    np.testing.assert_array_equal(results['bbox'][:, 2],
                                  60 - before['bbox'][:, 0])
    # Boxes are the hull of the pixels before and after.
    np.testing.assert_array_equal(results['bbox'][:, 2],
                                  results['keypoints'][..., 0].max(1) + 1)


def test_flip_moves_visibility_with_the_joint():
    data = sample(num=1)
    data['keypoints_visible'][0] = [1, 0, 1]
    results = PoseRandomFlip(prob=1.0)(data)
    np.testing.assert_array_equal(results['keypoints_visible'], [[1, 1, 0]])
    assert results['flip'] and results['flip_direction'] == 'horizontal'


def test_flip_never_and_wrong_indices():
    assert PoseRandomFlip(prob=0.0)(sample())['flip'] is False
    data = sample()
    data['flip_indices'] = [0, 1]
    with pytest.raises(ValueError, match='flip_indices names 2 key points'):
        PoseRandomFlip(prob=1.0)(data)


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_rot90_of_points_and_boxes(quarters):
    transform = PoseRandomRot90(prob=1.0)
    transform._quarters = lambda: quarters
    results = transform(sample())
    assert_marks(results)
    points = results['keypoints']
    hull = np.concatenate([points.min(1), points.max(1) + 1], 1)
    np.testing.assert_array_equal(results['bbox'], hull)
    assert results['img_shape'] == results['img'].shape[:2]


def test_rot90_draws_all_quarters():
    np.random.seed(0)
    transform = PoseRandomRot90(prob=1.0)
    assert {transform._quarters() for _ in range(60)} == {0, 1, 2, 3}


@pytest.mark.parametrize('center', [False, True])
@pytest.mark.parametrize('shape', [(40, 60), (60, 40), (31, 47)])
def test_resize_pad_maps_back(center, shape):
    before = sample(*shape)
    results = PoseResizePad((96, 64), center=center)(sample(*shape))
    assert results['img'].shape == (64, 96, 3)
    scale = min(96 / shape[1], 64 / shape[0])
    # What mmpose's BottomupPoseEstimator does with predictions.
    back = (results['keypoints'] / results['input_size'] *
            results['input_scale'] + results['input_center'] -
            0.5 * results['input_scale'])
    np.testing.assert_allclose(back, before['keypoints'], atol=1e-4)
    np.testing.assert_allclose(
        results['area'], before['area'] * scale**2, rtol=1e-5)
    size = results['bbox'][:, 2:] - results['bbox'][:, :2]
    np.testing.assert_allclose(size.prod(1), results['area'], rtol=1e-4)


def test_resize_pad_corner_and_value():
    data = sample(40, 60)
    data['img'][:] = 200
    corner = PoseResizePad(120)({**data})
    assert (corner['img'][:80] == 200).all()
    assert (corner['img'][80:] == 127).all()
    middle = PoseResizePad(120, center=True)({**data})
    assert (middle['img'][20:100] == 200).all()
    assert (middle['img'][:20] == 127).all()
    np.testing.assert_allclose(middle['bbox'][:, 1] - corner['bbox'][:, 1], 20)


def test_resize_pad_rounding_and_no_annotation():
    # 33 * 64 / 100 = 21.12 -> 21; int(x + 0.5) rounds halves up.
    results = PoseResizePad(64)(dict(img=np.zeros((33, 100, 3), np.uint8)))
    assert (results['img'][:21] == 0).all() and (results['img'][21:]
                                                 == 127).all()
    with pytest.raises(ValueError, match='positive'):
        PoseResizePad((0, 64))


def test_brightness_contrast_formula():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    transform = PoseBrightnessContrast((1.2, 1.2), (0.7, 0.7), prob=1.0)
    result = transform(dict(img=image.copy()))['img']
    mean = image.reshape(-1, 3).mean(0)
    expected = ((image - mean) * 0.7 + mean * 1.2).clip(0, 255)
    np.testing.assert_array_equal(result, expected.astype(np.uint8))
    as_float = transform(dict(img=image.astype(np.float32)))['img']
    np.testing.assert_allclose(as_float, expected, rtol=1e-5)
    untouched = PoseBrightnessContrast(prob=0.0)(dict(img=image))['img']
    assert untouched is image


def test_affine_by_hand():
    transform = PoseRandomAffine(prob=1.0)
    transform._parameters = lambda: (0.0, 2.0, 0.0, 0.0, cv2.INTER_NEAREST)
    data = sample(40, 60, num=1)
    data['keypoints'][0] = [[30, 20], [40, 25], [58, 20]]
    data['bbox'][0] = [20, 10, 60, 30]
    data['area'][0] = 100
    results = transform(data)
    # x -> 2 x - 30, y -> 2 y - 20; the third joint leaves the image.
    np.testing.assert_allclose(results['keypoints'][0],
                               [[30, 20], [50, 30], [86, 20]])
    np.testing.assert_array_equal(results['keypoints_visible'][0], [1, 1, 0])
    np.testing.assert_allclose(results['bbox'][0], [10, 0, 60, 40])
    # area * 4, and 50 of the 80 columns of the box are left.
    np.testing.assert_allclose(results['area'][0], 100 * 4 * 50 / 80)


def test_affine_moves_pixels_and_points_together():
    transform = PoseRandomAffine(prob=1.0)
    transform._parameters = lambda: (30.0, 0.8, 0.05, -0.1, cv2.INTER_LINEAR)
    image = np.zeros((60, 80, 3), np.uint8)
    image[28:31, 49:52] = 255
    points = np.array([[[50, 29]]], np.float32)
    results = transform(
        dict(img=image, keypoints=points, keypoints_visible=np.ones((1, 1))))
    ys, xs = np.nonzero(results['img'][..., 0] > 150)
    np.testing.assert_allclose(results['keypoints'][0, 0],
                               [xs.mean(), ys.mean()], atol=0.5)
    assert (results['img'][0, 0] == 127).all()


def test_affine_translation_moves_the_centre_only():
    transform = PoseRandomAffine(prob=1.0)
    transform._parameters = lambda: (0.0, 1.0, 0.1, 0.1, cv2.INTER_NEAREST)
    results = transform(sample())
    np.testing.assert_allclose(results['keypoints'], sample()['keypoints'])


def test_affine_ranges():
    np.random.seed(0)
    transform = PoseRandomAffine(7, (0.6, 1.75), 0.1, prob=0.75)
    drawn = [transform._parameters() for _ in range(400)]
    some = np.array([d[:4] for d in drawn if d is not None])
    assert 0.65 < len(some) / 400 < 0.85
    assert np.abs(some[:, 0]).max() <= 7 and np.abs(some[:, 0]).max() > 6
    assert some[:, 1].min() >= 0.6 and some[:, 1].max() <= 1.75
    assert np.abs(some[:, 2:]).max() <= 0.1


def test_transform_boxes_rotates_the_hull():
    matrix = cv2.getRotationMatrix2D((0, 0), 90, 1.0)
    boxes = np.array([[1, 2, 5, 3]], np.float32)
    np.testing.assert_allclose(
        transform_boxes(boxes, matrix), [[2, -5, 3, -1]], atol=1e-6)


def test_mosaic_layout_and_visibility():
    parts = [
        sample(10, 20, 1, 1),
        sample(16, 12, 2, 2),
        sample(8, 10, 3, 0),
        sample(6, 14, 4, 1)
    ]
    parts[1]['keypoints_visible'][1] = [0, 1, 0]
    points = [part['keypoints'].copy() for part in parts]
    areas = np.concatenate([part['area'] for part in parts])
    images = [part['img'].copy() for part in parts]
    results = PoseMosaic(prob=1.0).join(parts)
    # Upper pair 32 wide, 16 high; lower pair 24 wide, 8 high and centred.
    assert results['img'].shape == (24, 32, 3)
    np.testing.assert_array_equal(results['img'][6:16, :20], images[0])
    np.testing.assert_array_equal(results['img'][:16, 20:], images[1])
    np.testing.assert_array_equal(results['img'][16:24, 4:14], images[2])
    np.testing.assert_array_equal(results['img'][16:22, 14:28], images[3])
    assert (results['img'][:6, :20] == 127).all()
    assert (results['img'][22:, 14:] == 127).all()
    np.testing.assert_array_equal(results['keypoints'][0],
                                  points[0][0] + [0, 6])
    np.testing.assert_array_equal(results['keypoints'][1:3],
                                  points[1] + [20, 0])
    np.testing.assert_array_equal(results['keypoints'][3],
                                  points[3][0] + [14, 16])
    np.testing.assert_array_equal(results['keypoints_visible'],
                                  [[1] * 3, [1] * 3, [0, 1, 0], [1] * 3])
    np.testing.assert_array_equal(results['area'], areas)
    assert len(results['iscrowd']) == len(results['bbox']) == 4


class FakeDataset:
    """Three samples, the second one without annotation."""

    def __len__(self):
        return 3

    def get_data_info(self, index):
        data = sample(20 + index, 30, index)
        if index == 1:
            data = dict(img=data['img'], img_shape=data['img_shape'])
        return data


def test_mosaic_draws_from_the_dataset():
    np.random.seed(0)
    calls = []

    def mark(results):
        calls.append(results['dataset'])
        return results

    transform = PoseMosaic(prob=1.0)
    transform.pre_transform = mark
    data = sample()
    data['dataset'] = FakeDataset()
    results = transform(data)
    assert len(calls) == 3
    assert len(results['bbox']) == len(results['keypoints'])
    assert len(results['bbox']) % 2 == 0
    with pytest.raises(ValueError, match='dataset'):
        transform(sample())
    assert PoseMosaic(prob=0.0)(sample())['img'].shape == (40, 60, 3)


def test_sanitize_by_hand():
    data = sample(40, 60, num=1)
    data['keypoints'][0] = [[-1, 5], [59.5, 39], [60, 3]]
    data['bbox'][0] = [-10, 10, 30, 60]
    data['area'][0] = 1000
    results = sanitize(data, 40, 60)
    np.testing.assert_array_equal(results['keypoints_visible'], [[0, 1, 0]])
    np.testing.assert_array_equal(results['bbox'], [[0, 10, 30, 40]])
    np.testing.assert_allclose(results['area'], 1000 * (30 * 30) / (40 * 50))


def test_sanitize_transform_reports_wrong_number():
    data = sample()
    data['img_path'] = 'a.jpg'
    assert PoseSanitize()(data)['keypoints'].shape == (2, 3, 2)
    with pytest.raises(ValueError, match='a.jpg .* 3 key points, but 17'):
        PoseSanitize(num_keypoints=17)(data)


def test_remove_small():
    data = sample(num=4)
    data['bbox'][0] = [5, 5, 5.5, 6.5]  # 0.75 px
    data['bbox'][1:] = [5, 5, 9, 9]
    data['keypoints_visible'][1] = 0
    data['keypoints_visible'][2] = [0, 2, 0]
    data['iscrowd'] = [1, 2, 3, 4]
    results = PoseRemoveSmall()(data)
    assert results['iscrowd'] == [3, 4]
    for key in ('bbox', 'keypoints', 'keypoints_visible', 'area', 'bbox_score',
                'category_id'):
        assert len(results[key]) == 2, key
    results = PoseRemoveSmall(min_visible=2)(results)
    assert results['iscrowd'] == [4]
    results = PoseRemoveSmall(min_area=17)(results)
    assert results['bbox'].shape == (0, 4)
    assert PoseRemoveSmall()(dict(img=data['img'])).keys() == {'img'}


def test_select_keeps_two_channel_visibility():
    data = sample(num=3)
    data['keypoints_visible'] = np.ones((3, 3, 2), np.float32)
    results = select_instances(data, np.array([True, False, True]))
    assert results['keypoints_visible'].shape == (2, 3, 2)


@pytest.mark.parametrize('mode', ['as_normal', 'keep'])
def test_pack_labels(mode):
    pytest.importorskip('mmpose')
    from mmpose.datasets.transforms import PackPoseInputs
    data = sample(num=3)
    data['iscrowd'] = [0, 1, 0]
    data['keypoints_visible'] = np.stack(
        [np.eye(3), np.ones((3, 3))], axis=-1)
    packed = PackPoseInputs()(PosePackLabels(crowd=mode)(data))
    labels = packed['data_samples'].gt_instance_labels
    expected = [0, 1, 0] if mode == 'keep' else [0, 0, 0]
    assert labels.crowds.tolist() == expected
    assert labels.labels.tolist() == [0, 0, 0]
    assert torch.equal(labels.keypoints_visible, torch.eye(3))
    for key in ('bboxes', 'keypoints', 'keypoints_visible', 'areas'):
        assert labels[key].dtype == torch.float32


def test_pack_labels_without_instances():
    pytest.importorskip('mmpose')
    from mmpose.datasets.transforms import PackPoseInputs
    data = dict(img=np.zeros((8, 8, 3), np.uint8), flip_indices=[0, 2, 1])
    packed = PackPoseInputs()(PosePackLabels()(data))
    labels = packed['data_samples'].gt_instance_labels
    assert labels.bboxes.shape == (0, 4)
    assert labels.keypoints.shape == (0, 3, 2)
    assert labels.areas.shape == (0, )
    with pytest.raises(ValueError, match='crowd must be'):
        PosePackLabels(crowd='drop')
