"""Behaviour of the pose head that needs no reference numbers."""
import pytest
import torch
from mmengine.structures import InstanceData

from mmyolonas.models.pose_heads import YOLONASPoseHead

LOSSES = ('loss_cls', 'loss_bbox', 'loss_dfl', 'loss_kpt_score', 'loss_kpt')
TINY = dict(in_channels=(8, 8, 8), feat_channels=(8, 16, 8), pose_channels=(16, 8, 8),
            num_pose_convs=(1, 2, 0))


def tiny_head(num_keypoints=3, **kwargs):
    torch.manual_seed(0)
    return YOLONASPoseHead(num_keypoints, TINY, sigmas=0.1, **kwargs)


def feats(batch=2, height=96, width=128):
    torch.manual_seed(1)
    return [torch.randn(batch, 8, height // s, width // s) for s in (8, 16, 32)]


def person(x=20., y=10., visible=(1, 1, 1), crowd=0, **kwargs):
    """One object of 60 x 70 pixels with three joints."""
    points = torch.tensor([[5., 10.], [30., 30.], [50., 60.]]) + torch.tensor([x, y])
    fields = dict(
        bboxes=torch.tensor([[x, y, x + 60, y + 70]]), labels=torch.zeros(1, dtype=torch.long),
        keypoints=points[None], keypoints_visible=torch.tensor([visible]).float(),
        crowds=torch.tensor([crowd]))
    return InstanceData(**{**fields, **kwargs})


def nobody():
    return InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long),
        keypoints=torch.zeros(0, 3, 2), keypoints_visible=torch.zeros(0, 3))


def losses(head, instances):
    return head.loss_by_feat(*head.forward_raw(feats(len(instances))), instances)


@pytest.mark.parametrize('shared_stem', [False, True])
@pytest.mark.parametrize('num_keypoints', [1, 4, 33])
def test_shapes(num_keypoints, shared_stem):
    head = tiny_head(num_keypoints, shared_stem=shared_stem, num_bbox_convs=(0, 1, 2))
    outputs = head(feats())
    raw = head.forward_raw(feats())
    for maps, channels in zip(outputs, (1, 4, 2 * num_keypoints, num_keypoints)):
        assert [tuple(x.shape) for x in maps] == [
            (2, channels, 12, 16), (2, channels, 6, 8), (2, channels, 3, 4)]
    assert raw.bbox_dists[0].shape == (2, 68, 12, 16)
    boxes, scores, keypoints, keypoint_scores = head.decode(feats())
    total = 12 * 16 + 6 * 8 + 3 * 4
    assert boxes.shape == (2, total, 4)
    assert scores.shape == (2, total, 1)
    assert keypoints.shape == (2, total, num_keypoints, 2)
    assert keypoint_scores.shape == (2, total, num_keypoints)
    names = dict(head.levels[0].named_children())
    assert ('stem' in names) == shared_stem and ('pose_stem' in names) != shared_stem


def test_decode_by_hand():
    """Offsets count from the top-left corner of the cell, distances from its centre."""
    head = tiny_head().eval()
    with torch.no_grad():
        cls_scores, bbox_preds, kpt_offsets, kpt_scores = head(feats())
        boxes, scores, keypoints, keypoint_scores = head.decode(feats())
    row, column, stride = 2, 5, 16  # the second level
    index = 12 * 16 + row * 8 + column
    left, top, right, bottom = bbox_preds[1][0, :, row, column].tolist()
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    assert boxes[0, index].tolist() == pytest.approx([x - left, y - top, x + right, y + bottom])
    offsets = kpt_offsets[1][0, :, row, column].view(3, 2)
    expected = (offsets + torch.tensor([column, row])) * stride
    torch.testing.assert_close(keypoints[0, index], expected)
    torch.testing.assert_close(scores[0, index], cls_scores[1][0, :, row, column].sigmoid())
    torch.testing.assert_close(keypoint_scores[0, index],
                               kpt_scores[1][0, :, row, column].sigmoid())


def test_initial_confidence():
    head = tiny_head()
    for level in head.levels:
        assert level.cls_pred.bias.sigmoid().tolist() == pytest.approx([0.01] * 4)
    assert 'sigmas' not in head.state_dict()


@pytest.mark.parametrize('instances', [
    [nobody(), nobody()], [person(), nobody()], [InstanceData(), person()]],
    ids=['no persons', 'one image without', 'one image without fields'])
def test_every_parameter_is_in_the_graph(instances):
    head = tiny_head()
    result = losses(head, instances)
    assert tuple(result) == LOSSES
    sum(result.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_no_persons():
    result = losses(tiny_head(), [nobody(), nobody()])
    assert result['loss_cls'] > 0
    assert all(result[name] == 0 for name in LOSSES[1:])


def test_person_without_visible_joints_teaches_nothing():
    head = tiny_head()
    empty = losses(head, [nobody(), nobody()])
    unseen = losses(head, [person(visible=(0, 0, 0)), nobody()])
    for name in LOSSES:
        torch.testing.assert_close(unseen[name], empty[name])


def test_crowd_is_negative_or_ignored():
    empty = losses(tiny_head(), [nobody(), nobody()])
    crowd = [person(crowd=1), nobody()]
    counted = losses(tiny_head(), crowd)
    ignored = losses(tiny_head(ignore_crowd=True), crowd)
    for name in LOSSES:
        torch.testing.assert_close(counted[name], empty[name])
    assert 0 < ignored['loss_cls'] < counted['loss_cls']
    # beside a crowd an ordinary person is learnt as ever
    both = InstanceData.cat([person(), person(60, 20, crowd=1)])
    assert losses(tiny_head(), [both, nobody()])['loss_kpt'] > 0


def test_visibility_one_and_two_are_equal_and_zero_is_not():
    head = tiny_head()
    one = losses(head, [person(visible=(1, 1, 1)), nobody()])
    two = losses(head, [person(visible=(2, 1, 2)), nobody()])
    less = losses(head, [person(visible=(1, 0, 1)), nobody()])
    for name in LOSSES:
        assert one[name] == two[name]
    assert less['loss_kpt'] != one['loss_kpt']
    # mmpose may give (N, K, 2), the second channel holding loss weights
    weighted = torch.tensor([[[1., 1.], [0., 1.], [1., 1.]]])
    again = losses(head, [person(keypoints_visible=weighted), nobody()])
    assert again['loss_kpt'] == less['loss_kpt']


def test_key_points_outside_the_image():
    points = torch.tensor([[[-500., -500.], [40., 40.], [9000., 20.]]])
    result = losses(tiny_head(), [person(keypoints=points), nobody()])
    assert all(torch.isfinite(value) for value in result.values())


def test_wrong_number_of_key_points():
    with pytest.raises(ValueError, match='annotations have 5 key points, the head expects '
                       'num_keypoints=3'):
        losses(tiny_head(), [person(keypoints=torch.zeros(1, 5, 2)), nobody()])
    with pytest.raises(ValueError, match='have no keypoints'):
        losses(tiny_head(), [InstanceData(bboxes=torch.zeros(2, 4)), nobody()])


@pytest.mark.parametrize('sigmas, match', [
    ([0.1, 0.1], 'sigmas has 2 entries, but num_keypoints is 3'),
    (None, 'give sigmas, one for each of the 3'),
    ([0.1, 0.0, 0.1], 'must be positive'),
])
def test_wrong_sigmas(sigmas, match):
    with pytest.raises(ValueError, match=match):
        YOLONASPoseHead(3, TINY, sigmas=sigmas)


def test_wrong_architecture():
    with pytest.raises(ValueError, match='choose one of n, s, m, l'):
        YOLONASPoseHead(17, 'xl')
    with pytest.raises(ValueError, match='feat_channels needs one entry'):
        YOLONASPoseHead(17, 'n', feat_channels=(8, 8))


def test_half_precision_gives_the_same_losses():
    head = tiny_head()
    instances = [person(), nobody()]
    full = losses(head, instances)
    raw = head.forward_raw(feats())
    half = head.loss_by_feat(*([x.bfloat16() for x in maps] for maps in raw), instances)
    for name in LOSSES:
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.1)


def test_training_reduces_the_loss():
    """A hundred steps on two images are enough to find their persons."""
    head = tiny_head()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    instances = [person(), person(40, 15)]
    maps = feats()
    history = []
    for _ in range(120):
        result = head.loss_by_feat(*head.forward_raw(maps), instances)
        loss = sum(result.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * max(history)
    poses = head.eval().predict(maps, [None, None], dict(score_thr=0.0))
    assert abs(poses[0].keypoints[0] - instances[0].keypoints[0].numpy()).max() < 12


def test_test_time_augmentation_is_refused():
    with pytest.raises(NotImplementedError, match='flip_test=False'):
        tiny_head().predict([feats(), feats()], [None, None])
