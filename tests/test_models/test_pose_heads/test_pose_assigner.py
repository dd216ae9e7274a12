"""The pose assigner against the detection assigner and a dense computation."""
import pytest
import torch

from mmyolonas.models.task_modules import (
    BatchTaskAlignedAssigner,
    PoseTargets,
    PoseTaskAlignedAssigner,
)
from mmyolonas.models.utils import grid_priors, oks

SIGMAS = torch.tensor([0.1, 0.2, 0.15])


def problem(seed=0, images=3, objects=4):
    """Crowded random boxes with poses, and predictions near some of them."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    priors, _ = grid_priors([(12, 16), (6, 8), (3, 4)], (8, 16, 32))
    corner = rand(images, objects, 2) * torch.tensor([80., 50.])
    boxes = torch.cat([corner, corner + 15 + 60 * rand(images, objects, 2)], -1)
    sides = boxes[..., 2:] - boxes[..., :2]
    points = boxes[:, :, None, :2] + rand(images, objects, 3, 2) * sides[:, :, None]
    mask = torch.arange(objects) < torch.tensor([objects, 2, 0])[:, None]
    targets = PoseTargets(
        labels=torch.zeros(images, objects, dtype=torch.long), bboxes=boxes * mask[..., None],
        mask=mask, keypoints=points * mask[..., None, None],
        visible=(rand(images, objects, 3) > 0.3).float() * mask[..., None],
        crowds=(rand(images, objects) > 0.7) & mask)
    chosen = torch.randint(objects, (images, len(priors)), generator=generator)
    index = torch.arange(images)[:, None]
    pred_boxes = boxes[index, chosen] + 30 * (rand(images, len(priors), 4) - 0.5)
    pred_points = points[index, chosen] + 20 * (rand(images, len(priors), 3, 2) - 0.5)
    return rand(images, len(priors), 1), pred_boxes, pred_points, priors, targets


def areas(boxes, factor=0.53):
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1) * factor


@pytest.mark.parametrize('seed', range(4))
def test_equals_the_detection_assigner_with_dense_oks(seed):
    scores, boxes, points, priors, targets = problem(seed)
    dense = oks(points[:, None], targets.keypoints[:, :, None], targets.visible[:, :, None],
                areas(targets.bboxes)[..., None], SIGMAS)
    expected = BatchTaskAlignedAssigner().assign(scores, boxes, priors, targets, dense)
    result = PoseTaskAlignedAssigner().assign(scores, boxes, points, priors, targets, SIGMAS)
    crowd = targets.crowds.gather(1, expected.gt_inds) & expected.pos_mask
    assert crowd.any() or seed
    assert torch.equal(result.crowd_mask, crowd)
    assert torch.equal(result.pos_mask, expected.pos_mask & ~crowd)
    assert torch.equal(result.gt_inds, expected.gt_inds)
    assert torch.equal(result.labels, expected.labels)
    torch.testing.assert_close(result.assigned_scores,
                               expected.assigned_scores.masked_fill(crowd, 0))


def test_oks_changes_the_assignment_and_can_be_left_out():
    scores, boxes, points, priors, targets = problem()
    targets.crowds.zero_()
    plain = BatchTaskAlignedAssigner().assign(scores, boxes, priors, targets)
    without = PoseTaskAlignedAssigner(use_oks=False).assign(
        scores, boxes, points, priors, targets, SIGMAS)
    with_oks = PoseTaskAlignedAssigner().assign(scores, boxes, points, priors, targets, SIGMAS)
    assert torch.equal(without.pos_mask, plain.pos_mask)
    assert torch.equal(without.assigned_scores, plain.assigned_scores)
    assert not torch.equal(with_oks.assigned_scores, plain.assigned_scores)


def test_prior_between_two_goes_to_the_better_pose():
    """Equal boxes, different poses: the pose decides."""
    priors = torch.tensor([[50., 50.]])
    box = torch.tensor([20., 20., 80., 80.])
    poses = torch.tensor([[[30., 30.], [40., 40.], [50., 50.]],
                          [[70., 30.], [60., 40.], [50., 70.]]])
    targets = PoseTargets(
        labels=torch.zeros(1, 2, dtype=torch.long), bboxes=box.expand(1, 2, 4),
        mask=torch.ones(1, 2, dtype=torch.bool), keypoints=poses[None],
        visible=torch.ones(1, 2, 3), crowds=torch.zeros(1, 2, dtype=torch.bool))
    for index in (0, 1):
        result = PoseTaskAlignedAssigner().assign(
            torch.ones(1, 1, 1), box.view(1, 1, 4), poses[index].view(1, 1, 3, 2) + 1, priors,
            targets, SIGMAS)
        assert result.gt_inds.item() == index
        expected = oks(poses[index] + 1, poses[index], torch.ones(3), areas(box), SIGMAS)
        assert result.assigned_scores.item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_objects_at_all():
    scores, boxes, points, priors, targets = problem()
    nothing = PoseTargets(**{name: value[:, :0] for name, value in vars(targets).items()})
    result = PoseTaskAlignedAssigner().assign(scores, boxes, points, priors, nothing, SIGMAS)
    assert not result.pos_mask.any() and not result.crowd_mask.any()
    assert result.labels.unique().tolist() == [1]
