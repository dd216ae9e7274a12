"""Losses, geometry and assignment against independent formulations."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses import DistributionFocalLoss as MMDetDistributionFocalLoss
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from mmyolonas.models.losses.functional import distribution_focal_loss, varifocal_loss
from mmyolonas.models.task_modules import BatchTaskAlignedAssigner, pad_pose_targets
from mmyolonas.models.utils import (
    PaddedTargets,
    boxes_to_distances,
    distances_to_boxes,
    flatten_levels,
    gather_levels,
    grid_priors,
    integral,
    pad_targets,
    pairwise_iou,
    points_in_boxes,
    select_candidates,
)


def boxes(*shape):
    corner = torch.rand(*shape, 2) * 50
    return torch.cat([corner, corner + torch.rand(*shape, 2) * 40 + 1], dim=-1)


def test_pairwise_iou_is_torchvisions():
    a, b = boxes(2, 5), boxes(2, 7)
    expected = torch.stack([box_iou(x, y) for x, y in zip(a, b)])
    torch.testing.assert_close(pairwise_iou(a, b), expected)


def test_iou_of_inverted_and_empty_boxes_is_zero():
    a = torch.tensor([[10., 10., 5., 5.], [3., 3., 3., 9.]])
    assert pairwise_iou(a, boxes(4)).abs().max() == 0


def test_integral_is_an_expectation():
    logits = torch.randn(2, 68, 3, 4)
    probabilities = logits.view(2, 4, 17, 3, 4).softmax(2)
    expected = torch.einsum('bskhw,k->bshw', probabilities, torch.arange(17.))
    torch.testing.assert_close(integral(logits, 16), expected)
    torch.testing.assert_close(
        integral(logits.permute(0, 2, 3, 1), 16, dim=-1), expected.permute(0, 2, 3, 1))


def test_boxes_and_distances_are_inverse():
    priors, target = torch.rand(6, 2) * 50, boxes(6)
    torch.testing.assert_close(
        distances_to_boxes(priors, boxes_to_distances(priors, target)), target)


def test_priors_are_cell_centres_in_row_major_order():
    priors, strides = grid_priors([(2, 3), (1, 2)], (8, 16))
    assert priors.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8],
                               [24, 8]]
    assert strides[:, 0].tolist() == [8] * 6 + [16] * 2


def test_points_on_an_edge_are_outside():
    inside = points_in_boxes(torch.tensor([[5., 5.], [1., 1.], [0., 5.]]),
                             torch.tensor([[[0., 0., 10., 10.], [1., 1., 4., 4.]]]))
    assert inside.tolist() == [[[True, True, False], [False, False, False]]]


def test_varifocal_loss_equals_its_dense_definition():
    logits = (torch.randn(2, 9, 4) * 3).requires_grad_()
    labels = torch.randint(0, 5, (2, 9))
    labels[0, 0], labels[1, 3] = 1, 4
    pos_mask = labels < 4
    scores = torch.rand(2, 9) * pos_mask
    scores[0, 0] = 0  # a positive whose target is 0 weighs nothing
    y = F.one_hot(labels, 5)[..., :4].float()
    target = y * scores[..., None]
    weight = 0.75 * logits.sigmoid()**2 * (1 - y) + target * y
    expected = (weight * F.binary_cross_entropy_with_logits(
        logits, target, reduction='none')).sum()
    ours = varifocal_loss(logits, labels, scores, pos_mask)
    torch.testing.assert_close(ours, expected)
    grads = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (ours, expected)]
    torch.testing.assert_close(*grads)


def test_distribution_focal_loss_is_mmdets():
    logits, target = torch.randn(7, 68), torch.rand(7, 4) * 15.9
    expected = MMDetDistributionFocalLoss(reduction='none')(
        logits.reshape(-1, 17), target.reshape(-1)).view(7, 4).mean(1)
    torch.testing.assert_close(distribution_focal_loss(logits, target, 16), expected)


def test_distances_beyond_the_support_are_clipped():
    logits = torch.randn(1, 68)
    far, limit = torch.tensor([[-3., 16, 99, 4]]), torch.tensor([[0., 15.99, 15.99, 4]])
    torch.testing.assert_close(distribution_focal_loss(logits, far, 16),
                               distribution_focal_loss(logits, limit, 16))


def test_gathering_from_levels_equals_gathering_from_their_union():
    maps = [torch.randn(3, 5, 4, 6), torch.randn(3, 5, 2, 3)]
    index = (torch.tensor([2, 0, 1, 2]), torch.tensor([25, 3, 23, 0]))
    torch.testing.assert_close(gather_levels(maps, index), flatten_levels(maps)[index])


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_flattening_keeps_the_order_of_the_maps_in_memory(memory_format):
    maps = [torch.arange(2. * 3 * 4 * 6).view(2, 3, 4, 6), -torch.arange(2. * 3 * 2 * 3).view(
        2, 3, 2, 3)]
    flat = flatten_levels([x.contiguous(memory_format=memory_format) for x in maps])
    expected = torch.stack([torch.cat([x[:, c].flatten(1) for x in maps], 1) for c in range(3)], 2)
    torch.testing.assert_close(flat, expected, rtol=0, atol=0)
    assert flat.is_contiguous() == (memory_format == torch.channels_last)


def test_varifocal_gradient_agrees_with_finite_differences():
    logits = (torch.randn(2, 5, 3, dtype=torch.double) * 3).requires_grad_()
    labels = torch.tensor([[0, 3, 2, 3, 3], [3, 3, 1, 0, 3]])
    scores = torch.rand(2, 5, dtype=torch.double)
    for gamma in (2., 1.5):
        assert torch.autograd.gradcheck(
            lambda z, gamma=gamma: varifocal_loss(z, labels, scores, labels < 3, gamma=gamma),
            logits)
    with torch.no_grad():
        value = varifocal_loss(logits, labels, scores, labels < 3)
    torch.testing.assert_close(value, varifocal_loss(logits, labels, scores, labels < 3).detach())


def test_padding_of_targets():
    instances = [
        InstanceData(labels=torch.tensor([2, 0]), bboxes=boxes(2)),
        InstanceData(labels=torch.zeros(0, dtype=torch.long), bboxes=torch.zeros(0, 4)),
        InstanceData(labels=torch.tensor([1]), bboxes=boxes(1))
    ]
    padded = pad_targets(instances, torch.device('cpu'))
    assert padded.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert padded.labels.tolist() == [[2, 0], [0, 0], [1, 0]]
    torch.testing.assert_close(padded.bboxes[0], instances[0].bboxes)
    assert padded.bboxes[~padded.mask].abs().sum() == 0


def test_candidates_of_one_and_of_several_classes():
    scores = torch.tensor([[0.9, 0.8], [0.5, 0.1], [0.2, 0.3]])
    values, labels, priors = select_candidates(scores, 0.3, 10)
    assert list(zip(priors.tolist(), labels.tolist())) == [(0, 0), (0, 1), (1, 0)]
    values, labels, priors = select_candidates(scores, 0.3, 10, multi_label=False)
    assert list(zip(priors.tolist(), labels.tolist())) == [(0, 0), (1, 0), (2, 1)]
    values, labels, priors = select_candidates(scores, 0.0, 2)
    assert values.tolist() == pytest.approx([0.9, 0.8]) and priors.tolist() == [0, 0]


class TestAssigner:
    priors = grid_priors([(8, 8)], (8,))[0]

    def assign(self, instances, num_classes=3, seed=0, topk=13):
        scores, predicted = self.predictions(len(instances), num_classes, seed)
        targets = pad_targets(instances, torch.device('cpu'))
        return BatchTaskAlignedAssigner(topk).assign(scores, predicted, self.priors, targets)

    def predictions(self, batch, num_classes=3, seed=0):
        """Return scores and boxes that do not depend on the batch size."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(batch, len(self.priors), num_classes + 4, generator=generator)
        scores, distances = values.split([num_classes, 4], dim=2)
        return scores, distances_to_boxes(self.priors, distances * 20)

    @staticmethod
    def instances(*objects):
        return InstanceData(labels=torch.tensor([x[0] for x in objects], dtype=torch.long),
                            bboxes=torch.tensor([x[1] for x in objects]).view(-1, 4).float())

    def test_batch_without_objects_is_background(self):
        result = self.assign([self.instances(), self.instances()])
        assert (result.labels == 3).all() and not result.pos_mask.any()
        assert result.assigned_scores.sum() == 0
        assert result.one_hot_scores(3).shape == (2, 64, 3)

    def test_images_do_not_influence_each_other(self):
        one = self.instances((1, [4, 4, 40, 40]))
        many = self.instances((0, [0, 0, 30, 30]), (2, [10, 10, 60, 50]), (1, [30, 30, 62, 62]))
        together = self.assign([one, many])
        alone = self.assign([one])
        torch.testing.assert_close(together.labels[0], alone.labels[0])
        torch.testing.assert_close(together.assigned_scores[0], alone.assigned_scores[0])

    def test_an_object_claims_topk_of_the_priors_it_contains(self):
        result = self.assign([self.instances((1, [0, 0, 64, 64]))])
        assert result.pos_mask.sum() == 13
        small = self.assign([self.instances((1, [9, 9, 15, 15]))])
        assert small.pos_mask.nonzero().tolist() == [[0, 9]]  # the one centre inside
        between = self.assign([self.instances((1, [5, 5, 11, 11]))])
        assert not between.pos_mask.any()  # contains no centre at all

    def test_best_prior_is_trained_towards_the_best_overlap(self):
        result = self.assign([self.instances((1, [0, 0, 64, 64]))])
        predicted = self.predictions(1)[1]
        overlaps = box_iou(torch.tensor([[0., 0, 64, 64]]), predicted[0])[0]
        best = overlaps[result.pos_mask[0]].max()
        torch.testing.assert_close(result.assigned_scores.max(), best)

    def test_fewer_priors_than_topk(self):
        assert self.assign([self.instances((0, [0, 0, 64, 64]))], topk=500).pos_mask.all()

    def test_similarity_of_zero_leaves_no_score(self):
        targets = pad_targets([self.instances((0, [0, 0, 64, 64]))], torch.device('cpu'))
        predicted = torch.tensor([0., 0, 64, 64]).expand(1, 64, 4)
        result = BatchTaskAlignedAssigner().assign(
            torch.rand(1, 64, 3), predicted, self.priors, targets,
            similarity=torch.zeros(1, 1, 64))
        assert result.assigned_scores.sum() == 0

    def test_mask_and_not_content_marks_padding(self):
        targets = PaddedTargets(torch.zeros(1, 2, dtype=torch.long),
                                torch.tensor([[[0., 0, 64, 64], [0, 0, 64, 64]]]),
                                torch.tensor([[False, False]]))
        result = BatchTaskAlignedAssigner().assign(
            torch.rand(1, 64, 3), torch.rand(1, 64, 4), self.priors, targets)
        assert not result.pos_mask.any()


def test_no_wait_for_a_device():
    """Meta tensors have no values: whatever would have to look at them raises."""
    def instances(*counts, **fields):
        return [InstanceData(bboxes=torch.zeros(n, 4, device='meta'),
                             labels=torch.zeros(n, dtype=torch.long, device='meta'),
                             **{name: torch.zeros(n, *shape, device='meta')
                                for name, shape in fields.items()}) for n in counts]

    targets = pad_targets(instances(3, 0, 2), torch.device('meta'))
    assert targets.bboxes.shape == (3, 3, 4) and targets.labels.device.type == 'meta'
    poses = pad_pose_targets(instances(1, 4, keypoints=(17, 2), keypoints_visible=(17, )), 17,
                             torch.device('meta'))
    assert poses.keypoints.shape == (2, 4, 17, 2) and poses.mask.device.type == 'meta'
    maps = [torch.zeros(2, 5, side, side, device='meta', requires_grad=True) for side in (4, 2)]
    index = tuple(torch.zeros(7, dtype=torch.long, device='meta') for _ in range(2))
    values = gather_levels(maps, index)
    assert values.shape == (7, 5)
    values.sum().backward()
    assert all(x.grad.shape == x.shape for x in maps)
