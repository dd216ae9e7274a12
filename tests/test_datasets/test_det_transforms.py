"""The detection transforms against hand-made cases, OpenCV and mmdet."""
import copy

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import YOLOXHSVRandomAug
from mmdet.structures.bbox import HorizontalBoxes

from mmyolonas.datasets.transforms import (
    CenterPad,
    HSVRandomAug,
    RandomChannelSwap,
    YOLONASMixUp,
    YOLONASRandomAffine,
)
from mmyolonas.datasets.transforms import functional as F
from mmyolonas.datasets.transforms.yolonas_random_affine import AffineParams


def sample(height=48, width=64, boxes=((10, 8, 30, 40), ), seed=0):
    """Return a result dictionary with a smooth image."""
    rng = np.random.default_rng(seed)
    img = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (width, height),
                     interpolation=cv2.INTER_CUBIC)
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return dict(
        img=img,
        img_shape=img.shape[:2],
        gt_bboxes=HorizontalBoxes(torch.from_numpy(boxes)),
        gt_bboxes_labels=np.arange(len(boxes), dtype=np.int64),
        gt_ignore_flags=np.zeros(len(boxes), dtype=bool))


def marked(height, width, box):
    """Return a black image whose box is white, so that boxes can be read off the image."""
    results = sample(height, width, [box])
    results['img'] = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    results['img'][y1:y2, x1:x2] = 255
    return results


def hull_of_white(img, threshold=127):
    mask = img[..., 0] > threshold
    x, y = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return [x[0], y[0], x[-1] + 1, y[-1] + 1]


class TestCenterPad:

    @pytest.mark.parametrize('height,width,expected', [
        (40, 64, (12, 12, 0, 0)), (64, 33, (0, 0, 15, 16)), (63, 64, (0, 1, 0, 0)),
        (64, 64, (0, 0, 0, 0))])
    def test_border(self, height, width, expected):
        results = sample(height, width, [(0, 0, 5, 7)])
        original = results['img'].copy()
        results = CenterPad((64, 64), 114)(results)
        top, bottom, left, right = expected
        assert results['pad_param'].tolist() == list(expected)
        assert results['img'].shape == (64, 64, 3) == results['pad_shape']
        assert results['img_shape'] == (64, 64)
        inner = results['img'][top:64 - bottom, left:64 - right]
        assert np.array_equal(inner, original)
        assert results['img'].sum() == original.sum() + 114 * 3 * (64 * 64 - height * width)
        assert results['gt_bboxes'].tensor.tolist() == [[left, top, left + 5, top + 7]]

    def test_non_square_and_without_boxes(self):
        results = CenterPad((96, 64), 7)(dict(img=sample()['img']))
        assert results['img'].shape == (64, 96, 3)
        assert results['pad_param'].tolist() == [8, 8, 16, 16]
        assert 'gt_bboxes' not in results

    def test_homography(self):
        results = sample(40, 64)
        results['homography_matrix'] = np.diag([2., 2., 1.])
        results = CenterPad((64, 64))(results)
        assert (results['homography_matrix'] @ [1, 1, 1]).tolist() == [2, 14, 1]

    def test_too_large(self):
        with pytest.raises(ValueError, match='64x48 pixels does not fit.*Resize'):
            CenterPad((60, 60))(sample())


class TestColor:

    def test_swap(self):
        results = sample()
        original = results['img'].copy()
        assert np.array_equal(RandomChannelSwap(1.)(results)['img'], original[..., ::-1])
        assert np.array_equal(RandomChannelSwap(0.)(sample())['img'], original)

    def test_swap_probability(self):
        np.random.seed(0)
        img = np.zeros((1, 1, 3), dtype=np.uint8)
        img[..., 0] = 1
        swap = RandomChannelSwap(0.5)
        swapped = sum(int(swap(dict(img=img))['img'][0, 0, 2]) for _ in range(400))
        assert 160 < swapped < 240

    @pytest.mark.parametrize('seed', range(8))
    def test_hsv_is_mmdet_s(self, seed):
        img = np.random.default_rng(seed).integers(0, 256, (50, 40, 3), dtype=np.uint8)
        np.random.seed(seed)
        expected = YOLOXHSVRandomAug(18, 30, 30)(dict(img=img.copy()))['img']
        np.random.seed(seed)
        source = img.copy()
        actual = HSVRandomAug(18, 30, 30, prob=1)(dict(img=source))['img']
        assert np.array_equal(actual, expected)
        assert np.array_equal(source, img)  # the input is not written to

    def test_hsv_probability(self):
        np.random.seed(0)
        augment = HSVRandomAug(prob=0.5)
        applied = sum(augment._random_gains()[0] for _ in range(400))
        assert 160 < applied < 240
        img = sample()['img']
        assert HSVRandomAug(prob=0)(dict(img=img))['img'] is img

    def test_hsv_refuses_float(self):
        with pytest.raises(TypeError, match='uint8.*float32'):
            HSVRandomAug()(dict(img=np.zeros((4, 4, 3), dtype=np.float32)))


class TestBoxFunctions:

    def test_fit_size(self):
        assert F.fit_size(480, 640, (640, 640))[:2] == (480, 640)
        assert F.fit_size(427, 640, (320, 320))[:2] == (213, 320)  # 213.5 is cut
        assert F.fit_size(375, 500, (636, 636))[:2] == (477, 636)  # exactly 477
        assert F.fit_size(1, 5000, (640, 640))[:2] == (1, 640)

    def test_affine_boxes_turned(self):
        quarter = np.array([[0., -1, 100], [1, 0, 0]])
        boxes = F.affine_boxes(np.array([[10, 20, 30, 60]], dtype=np.float32), quarter)
        assert boxes.tolist() == [[40, 10, 80, 30]]

    def test_candidates(self):
        before = np.array([[0, 0, 10, 10]] * 6, dtype=np.float32)
        after = np.array([[0, 0, 10, 10], [0, 0, 2, 10], [0, 0, 3, 3], [0, 0, 4, 3], [0, 0, 0, 0],
                          [0, 0, 70, 3]], dtype=np.float32)
        keep = F.box_candidates(before, after, 2, 0.1, 20)
        # too thin; 9% of the area; 12% of the area; empty; 23 times as long as high
        assert keep.tolist() == [True, False, False, True, False, False]


def run_affine(results, height, width, transform=None, **params):
    """Apply YOLONASRandomAffine with given instead of random parameters."""
    values = dict(scale=1., center=(0.5, 0.5), angle=0., shear=(0., 0.), flip=False)
    values.update(params)
    transform = transform or YOLONASRandomAffine(img_scale=(width, height))
    transform._random_params = lambda: AffineParams(**values)
    return transform(results)


class TestRandomAffine:

    def test_identity(self):
        results = sample(48, 64)
        original = results['img'].copy()
        results = run_affine(results, 64, 64)
        assert np.array_equal(results['img'], original)
        assert results['img_shape'] == (48, 64)
        assert results['gt_bboxes'].tensor.tolist() == [[10, 8, 30, 40]]

    @pytest.mark.parametrize('flip', [False, True])
    @pytest.mark.parametrize('scale,center', [
        (0.5, (0.5, 0.5)), (0.75, (0.4, 0.6)), (1.5, (0.45, 0.6)), (1., (0.7, 0.3))])
    @pytest.mark.parametrize('size', [(240, 320), (320, 180), (100, 150)])
    def test_boxes_follow_the_image(self, size, scale, center, flip):
        """The box must be where the white pixels are, also right of x = H (landscape)."""
        height, width = size
        for box in [(width // 2, height // 3, width * 4 // 5, height * 2 // 3),
                    (width // 8, height // 4, width // 3, height // 2)]:
            results = run_affine(marked(height, width, box), 320, 320, scale=scale, center=center,
                                 flip=flip)
            white = hull_of_white(results['img'])
            assert len(results['gt_bboxes']) == 1
            assert np.abs(results['gt_bboxes'].tensor[0].numpy() - white).max() <= 1

    @pytest.mark.parametrize('params', [
        dict(angle=20.), dict(angle=-90., scale=0.6), dict(shear=(10., 5.), scale=0.7),
        dict(angle=10., flip=True, scale=0.5, center=(0.4, 0.6))])
    def test_rotation_and_shear(self, params):
        """The hull of the turned box encloses the white pixels and touches them."""
        results = run_affine(marked(200, 300, (120, 70, 180, 130)), 300, 300, **params)
        white = hull_of_white(results['img'])
        assert np.abs(results['gt_bboxes'].tensor[0].numpy() - white).max() <= 1.5

    def test_resize_path_equals_warp_path(self):
        """Both ways of drawing the same matrix give the same picture, to interpolation."""
        transform = YOLONASRandomAffine((320, 320))
        img = sample(240, 400)['img']
        params = AffineParams(0.8, (0.5, 0.55), 0., (0., 0.), False)
        fast, matrix = transform._resize_and_paste(img, 192, 320, params)
        warped, exact = transform._warp(img, 192, 320, params)
        assert np.abs(matrix - exact).max() < 0.5
        inside = np.s_[40:150, 60:260]
        assert np.abs(fast[inside].astype(int) - warped[inside]).mean() < 2
        # border value outside of the pasted image
        assert (fast[:, :10] == 114).all() and (warped[:, :10] == 114).all()

    def test_center_goes_to_requested_place(self):
        results = marked(200, 200, (95, 95, 105, 105))
        results = run_affine(results, 200, 200, scale=0.5, center=(0.3, 0.7))
        box = results['gt_bboxes'].tensor[0]
        assert torch.allclose((box[:2] + box[2:]) / 2, torch.tensor([60., 140.]), atol=1)

    def test_labels_follow_boxes(self):
        boxes = [(0, 0, 11, 9), (20, 15, 44, 33), (50, 40, 60, 47)]
        results = run_affine(sample(48, 64, boxes), 64, 64, scale=1.5, center=(0.5, 0.5))
        # (x, y) goes to (1.5 x - 16, 1.5 y - 12): only the middle box stays inside
        assert results['gt_bboxes'].tensor.tolist() == [[14, 10.5, 50, 37.5]]
        assert results['gt_bboxes_labels'].tolist() == [1]
        assert results['gt_ignore_flags'].tolist() == [False]

    def test_area_is_compared_with_the_unscaled_box(self):
        """At scale 0.5 a whole box has a ratio of 0.25, a third of it less than 0.1."""
        for visible, kept in ((1., 1), (0.5, 1), (0.33, 0)):
            results = sample(100, 100, [(0, 40, 30, 70)])
            # x = 0 of the image goes to -15 * (1 - visible)
            center = (25 - 15 * (1 - visible)) / 100
            results = run_affine(results, 100, 100, scale=0.5, center=(center, 0.5))
            assert len(results['gt_bboxes']) == kept

    def test_no_boxes(self):
        results = YOLONASRandomAffine((64, 64))(sample(boxes=()))
        assert results['gt_bboxes'].tensor.shape == (0, 4)
        assert results['gt_bboxes_labels'].shape == (0, )
        assert 'gt_bboxes' not in YOLONASRandomAffine((64, 64))(dict(img=sample()['img']))

    def test_ranges(self):
        np.random.seed(0)
        transform = YOLONASRandomAffine(max_translate_ratio=0.25, flip_prob=0.5)
        draws = [transform._random_params() for _ in range(500)]
        scales = np.array([d.scale for d in draws])
        centers = np.array([d.center for d in draws])
        assert 0.5 <= scales.min() < 0.55 and 1.45 < scales.max() <= 1.5
        assert 0.25 <= centers.min() < 0.27 and 0.73 < centers.max() <= 0.75
        assert 200 < sum(d.flip for d in draws) < 300
        assert all(d.angle == 0 and d.shear == (0, 0) for d in draws)

    def test_masks_are_refused(self):
        with pytest.raises(NotImplementedError, match='without masks'):
            YOLONASRandomAffine()(dict(sample(), gt_masks=[]))

    def test_wrong_range(self):
        with pytest.raises(ValueError, match='scaling_ratio_range'):
            YOLONASRandomAffine(scaling_ratio_range=(1.5, 0.5))


def mix(transform, first, second, **geometry):
    """Let ``transform`` see ``first`` and blend it into ``second``."""
    values = dict(scale=1., flip=False, crop_x=0., crop_y=0.)
    values.update(geometry)
    transform._random_geometry = lambda: tuple(values.values())
    transform(copy.deepcopy(first))
    return transform(copy.deepcopy(second))


class TestMixUp:

    def test_same_size(self):
        first, second = sample(seed=1), sample(seed=2, boxes=[(1, 2, 3, 4), (5, 6, 30, 40)])
        results = mix(YOLONASMixUp(prob=1), first, second)
        expected = (first['img'].astype(int) + second['img']) // 2
        assert np.array_equal(results['img'], expected)
        assert results['gt_bboxes'].tensor.tolist() == [[1, 2, 3, 4], [5, 6, 30, 40],
                                                        [10, 8, 30, 40]]
        assert results['gt_bboxes_labels'].tolist() == [0, 1, 0]
        assert results['gt_ignore_flags'].tolist() == [False] * 3

    @pytest.mark.parametrize('geometry', [
        dict(), dict(flip=True), dict(scale=0.5), dict(scale=0.5, flip=True),
        dict(scale=1.5, crop_x=0.2, crop_y=0.1), dict(scale=1.5, flip=True, crop_x=0.4)])
    def test_boxes_follow_the_partner(self, geometry):
        first = marked(150, 200, (80, 60, 130, 110))
        second = marked(160, 120, (0, 0, 1, 1))
        second['img'][:] = 0
        results = mix(YOLONASMixUp(prob=1, pad_val=0), first, second, **geometry)
        assert results['img'].shape == (160, 120, 3)
        box = results['gt_bboxes'].tensor[1].numpy()
        assert np.abs(box - hull_of_white(results['img'], 63)).max() <= 1

    def test_grey_beside_and_black_below(self):
        first, second = sample(100, 50), sample(100, 100)
        second['img'][:] = 0
        results = mix(YOLONASMixUp(prob=1), first, second, scale=0.5)
        assert (results['img'][:50, 25:50] == 57).all()  # half of 114
        assert (results['img'][50:] == 0).all() and (results['img'][:, 50:] == 0).all()

    def test_partner_is_raw(self):
        """The inner transforms change the image, not the partner in the cache."""
        transform = YOLONASMixUp(prob=1, transforms=[
            dict(type='mmyolonas.YOLONASRandomAffine', img_scale=(64, 64)),
            dict(type='mmyolonas.RandomChannelSwap', prob=1),
            dict(type='mmyolonas.HSVRandomAug', prob=1)])
        results = [sample(seed=seed) for seed in range(3)]
        originals = copy.deepcopy(results)
        for item in results:
            transform(item)
        for entry, original in zip(transform.results_cache, originals):
            assert np.array_equal(entry['img'], original['img'])
            assert np.array_equal(entry['gt_bboxes'], original['gt_bboxes'].numpy())

    def test_thin_partner_boxes_are_dropped(self):
        first = sample(48, 64, [(0, 0, 20, 20), (60, 10, 64, 40)])
        results = mix(YOLONASMixUp(prob=1), first, sample(48, 64, ()), scale=1.5, crop_x=0.99)
        assert results['gt_bboxes_labels'].tolist() == [1]

    def test_first_image_and_probability(self):
        first = sample()
        results = YOLONASMixUp(prob=1)(copy.deepcopy(first))
        assert np.array_equal(results['img'], first['img'])
        transform = YOLONASMixUp(prob=0.5)
        np.random.seed(0)
        blended = [len(transform(sample(seed=seed))['gt_bboxes']) == 2 for seed in range(200)]
        assert 75 < sum(blended) < 125

    def test_cache_is_bounded_and_never_blends_with_itself(self):
        transform = YOLONASMixUp(prob=1, max_cached_images=5)
        np.random.seed(0)
        for seed in range(40):
            transform(sample(seed=seed))
            assert len(transform.results_cache) == min(seed + 1, 5)
            assert transform._random_partner() is not transform.results_cache[-1]

    def test_no_boxes_at_all(self):
        results = mix(YOLONASMixUp(prob=1), sample(boxes=()), sample(boxes=()))
        assert results['gt_bboxes'].tensor.shape == (0, 4)
