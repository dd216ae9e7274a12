"""The head within a detector: training edge cases and the way back to the image."""
import warnings

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torchvision.ops import batched_nms

from mmyolonas.models.backbones import YOLONASBackbone
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.detectors import YOLONAS
from mmyolonas.models.necks import YOLONASPAN
from mmyolonas.registry import MODELS
from mmyolonas.utils.errors import NotNumbers, UserError, refuse_not_numbers
from tests.tiny import model_config


@pytest.fixture(autouse=True)
def mmdet_scope(no_default_scope):
    register_all_modules(init_default_scope=True)


@pytest.fixture
def detector() -> YOLONAS:
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(model_config()))


def sample(boxes=(), labels=(), **meta) -> DetDataSample:
    meta = dict(dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1., 1.)), **meta)
    data_sample = DetDataSample(metainfo=meta)
    data_sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long))
    return data_sample


ONE = sample([[8, 8, 40, 40]], [1])
EMPTY = sample()


@pytest.mark.parametrize('samples', [[ONE], [EMPTY], [ONE, EMPTY], [EMPTY, EMPTY]],
                         ids=['one', 'none', 'mixed', 'all empty'])
def test_every_parameter_gets_a_finite_gradient(detector, samples):
    """With and without objects: DDP needs no find_unused_parameters."""
    detector.train()
    detector.zero_grad()
    losses = detector(torch.rand(len(samples), 3, 64, 64), samples, mode='loss')
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_dfl'}
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if not any(len(s.gt_instances) for s in samples):
        assert losses['loss_bbox'] == 0 and losses['loss_cls'] > 0


def test_one_class_and_one_image_train():
    config = ConfigDict(model_config(num_classes=1))
    model = MODELS.build(config).train()
    losses = model(torch.rand(1, 3, 64, 96), [sample([[8, 8, 40, 40]], [0])], mode='loss')
    assert all(v.isfinite() and v > 0 for v in losses.values())


@pytest.mark.parametrize('shape', [(64, 50), (33, 64)])
def test_other_sizes_are_refused(detector, shape):
    with pytest.raises(ValueError, match=f'multiples of 32, got {shape[0]}x{shape[1]}'):
        detector.backbone(torch.rand(1, 3, *shape))


def test_wrong_tables_are_refused():
    with pytest.raises(ValueError, match="unknown arch 'xl'; choose one of n, s, m, l"):
        YOLONASBackbone('xl')
    with pytest.raises(ValueError, match='lacks context_channels, stages'):
        YOLONASBackbone(dict(stem_channels=8))
    with pytest.raises(ValueError, match='4 feature maps'):
        YOLONASPAN('s', in_channels=(8, 8, 8))
    with pytest.raises(ValueError, match='one entry per level'):
        YOLONASHead(2, in_channels=(8, 8))


def test_frozen_stages_stay_frozen():
    backbone = YOLONASBackbone('n', frozen_stages=2)
    backbone.train()
    for name, module in backbone.named_children():
        frozen = name in ('stem', 'stage1', 'stage2')
        assert module.training is not frozen, name
        assert all(p.requires_grad is not frozen for p in module.parameters()), name


def raw_outputs(head: YOLONASHead, boxes, scores):
    """Return per-level maps in which the first cells predict ``boxes``."""
    cls_scores = [torch.full((1, head.num_classes, 64 // s, 64 // s), -20.) for s in head.strides]
    bbox_preds = [torch.ones(1, 4, 64 // s, 64 // s) for s in head.strides]
    for i, (box, row) in enumerate(zip(boxes, scores)):
        centre = torch.tensor([8 * i + 4., 4.])
        box = torch.tensor(box, dtype=torch.float32)
        bbox_preds[0][0, :, 0, i] = torch.cat([centre - box[:2], box[2:] - centre])
        cls_scores[0][0, :, 0, i] = torch.logit(torch.tensor(row))
    return cls_scores, bbox_preds


BOXES = [[4, 6, 20, 26], [5, 6, 21, 26], [30, 40, 60, 60], [-10, 2, 90, 30]]
SCORES = [[.9, .6], [.8, .7], [.3, .02], [.5, .03]]


def predict(head, meta, **test_cfg):
    cfg = ConfigDict(dict(dict(score_thr=0.1, nms_pre=100, max_per_img=100,
                               nms=dict(type='nms', iou_threshold=0.5)), **test_cfg))
    return head.predict_by_feat(*raw_outputs(head, BOXES, SCORES), batch_img_metas=[meta],
                                cfg=cfg, rescale=True)[0]


@pytest.fixture(scope='module')
def head():
    return YOLONASHead(2)


PLAIN = dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1., 1.))


def test_suppression_is_torchvisions(head):
    results = predict(head, PLAIN)
    boxes = torch.tensor(BOXES, dtype=torch.float32).clamp(0, 64)
    pairs = [(i, c) for i in range(4) for c in range(2) if SCORES[i][c] > 0.1]
    flat_boxes = torch.stack([boxes[i] for i, _ in pairs])
    flat_scores = torch.tensor([SCORES[i][c] for i, c in pairs])
    labels = torch.tensor([c for _, c in pairs])
    keep = batched_nms(flat_boxes, flat_scores, labels, 0.5)
    torch.testing.assert_close(results.bboxes, flat_boxes[keep])
    torch.testing.assert_close(results.scores, flat_scores[keep])
    assert results.labels.tolist() == labels[keep].tolist()


def test_class_agnostic_and_single_label(head):
    agnostic = predict(head, PLAIN, nms=dict(type='nms', iou_threshold=0.5, class_agnostic=True))
    assert agnostic.scores.tolist() == pytest.approx([.9, .5, .3])
    single = predict(head, PLAIN, multi_label=False)
    assert single.labels.tolist() == [0, 0, 0]


def test_limits_on_candidates_and_results(head):
    assert predict(head, PLAIN, max_per_img=2).scores.tolist() == pytest.approx([.9, .7])
    few = predict(head, PLAIN, nms_pre=1)  # of the image, not of every level
    assert few.scores.tolist() == pytest.approx([.9])


def test_padding_and_scale_are_undone_and_boxes_clipped(head):
    """A 100x80 image, scaled by 0.5 to 50x40 and padded in the centre of 64x64."""
    meta = dict(img_shape=(64, 64), ori_shape=(80, 100), scale_factor=(.5, .5),
                pad_param=np.array([12, 12, 7, 7]))
    results = predict(head, meta)
    expected = torch.tensor(BOXES[0], dtype=torch.float32) - torch.tensor([7., 12., 7., 12.])
    expected = (expected * 2).clamp(min=0)
    torch.testing.assert_close(results.bboxes[0], expected)
    assert results.bboxes[:, 0::2].max() <= 100 and results.bboxes[:, 1::2].max() <= 80
    assert results.bboxes.min() >= 0


def test_no_candidates(head):
    results = predict(head, PLAIN, score_thr=0.99)
    assert len(results) == 0 and results.bboxes.shape == (0, 4)


@torch.no_grad()
def test_decode_agrees_with_forward_and_raw_outputs(detector):
    detector.eval()
    feats = detector.extract_feat(torch.rand(2, 3, 64, 96))
    bbox_head = detector.bbox_head
    boxes, scores = bbox_head.decode(feats)
    cls_scores, bbox_preds = bbox_head.forward(feats)
    raw = bbox_head.forward_raw(feats)
    assert boxes.shape == (2, 96 + 24 + 6, 4) and scores.shape == (2, 126, 2)
    for level, (one, two) in enumerate(zip(cls_scores, raw.cls_scores)):
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(bbox_preds[level], raw.bbox_preds[level])
        assert raw.bbox_dists[level].shape[1] == 68
    stride16 = 8 * 12 + 4  # the fifth cell of the second level: x = 4, y = 0
    left, top, right, bottom = bbox_preds[1][0, :, 0, 4]
    centre = (4.5 * 16, 0.5 * 16)
    expected = torch.stack([centre[0] - left, centre[1] - top, centre[0] + right,
                            centre[1] + bottom])
    torch.testing.assert_close(boxes[0, stride16], expected)
    torch.testing.assert_close(scores[0, stride16], cls_scores[1][0, :, 0, 4].sigmoid())


@torch.no_grad()
def test_detector_fuses_every_block(detector):
    model = MODELS.build(ConfigDict(model_config())).eval()
    x = torch.rand(1, 3, 64, 64)
    expected = model.bbox_head.decode(model.extract_feat(x))
    model.switch_to_deploy()
    assert not any('branch' in name or 'post_bn' in name for name in model.state_dict())
    for ours, before in zip(model.bbox_head.decode(model.extract_feat(x)), expected):
        torch.testing.assert_close(ours, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('fault', ['weights', 'std'])
def test_scores_that_are_no_numbers_are_said(detector, fault):
    """Finite weights that are too large, or a standard deviation of zero."""
    image = dict(inputs=[torch.full((3, 64, 64), 50, dtype=torch.uint8)], data_samples=[sample()])
    if fault == 'weights':
        for parameter in detector.bbox_head.parameters():
            parameter.data.fill_(3e38)
    else:
        detector.data_preprocessor.std.zero_()
        detector.data_preprocessor.mean.fill_(50)
    with pytest.warns(NotNumbers, match='predictions are not numbers'):
        assert not len(detector.eval().test_step(image)[0].pred_instances)
    with warnings.catch_warnings():
        refuse_not_numbers()
        with pytest.raises(UserError, match='nothing can be found'):
            detector.test_step(image)


@pytest.mark.parametrize('number', [0, -1, 1.5, None, 'a', True])
def test_number_of_classes(number):
    with pytest.raises(ValueError, match='num_classes must be a whole number of at least 1'):
        YOLONASHead(number)
