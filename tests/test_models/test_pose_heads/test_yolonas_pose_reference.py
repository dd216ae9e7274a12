"""YOLO-NAS-Pose against numbers of the original implementation."""
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from mmyolonas.models.backbones import YOLONASBackbone
from mmyolonas.models.necks import YOLONASPAN
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.models.task_modules import pad_pose_targets
from mmyolonas.models.utils import flatten_levels
from tests.reference import (
    DATA,
    fill_with_reference_weights,
    reference_input,
    split_levels,
    supergradients_key,
)

# reference.md 3.6, without the placeholder of the fused convolution
NUM_PARAMETERS = dict(n=7165323, s=16050444, m=40886734, l=56919508)


class PoseNet(nn.Module):
    """Backbone, neck and head without mmpose."""

    def __init__(self, arch, **kwargs):
        super().__init__()
        norm_cfg = dict(type='BN', momentum=0.03, eps=1e-6)
        self.backbone = YOLONASBackbone(arch, norm_cfg=norm_cfg)
        self.neck = YOLONASPAN(arch, norm_cfg=norm_cfg)
        self.head = YOLONASPoseHead(17, arch, norm_cfg=norm_cfg, **kwargs)

    def forward(self, x):
        return self.neck(self.backbone(x))


@pytest.mark.parametrize('arch', 'nsml')
def test_number_of_parameters(arch):
    with torch.device('meta'):
        net = PoseNet(arch)
    assert sum(p.numel() for p in net.parameters()) == NUM_PARAMETERS[arch]


@pytest.mark.parametrize('arch', 'nsml')
def test_state_dict_is_the_originals(arch):
    keys = json.loads((DATA / 'state_dict_keys.json').read_text())[f'yolo_nas_pose_{arch}']
    expected = {k: tuple(shape) for k, shape in keys if '.rbr_reparam.' not in k}
    with torch.device('meta'):
        state = PoseNet(arch).state_dict()
    assert {supergradients_key(k): tuple(v.shape) for k, v in state.items()} == expected


@pytest.mark.parametrize('fused', [False, True])
def test_outputs_of_pose_n(fused):
    reference = np.load(DATA / 'yolo_nas_pose_n.npz')
    net = fill_with_reference_weights(PoseNet('n'))
    if fused:
        net.backbone.switch_to_deploy()
        net.neck.switch_to_deploy()
    with torch.no_grad():
        feats = net(reference_input(reference))
        boxes, scores, keypoints, keypoint_scores = net.head.decode(feats)
        raw = net.head.forward_raw(feats)
    for value, name, tolerance in ((flatten_levels(raw.cls_scores), 'cls_logits', 1e-4),
                                   (flatten_levels(raw.bbox_dists), 'reg_distri', 1e-4),
                                   (boxes, 'boxes', 1e-3), (keypoints, 'keypoints', 1e-3),
                                   (scores, 'scores', 1e-5),
                                   (keypoint_scores, 'keypoint_scores', 1e-5)):
        np.testing.assert_allclose(
            value.numpy(), reference[name], atol=tolerance, rtol=1e-5, err_msg=name)


@pytest.fixture(scope='module')
def loss_case():
    reference = np.load(DATA / 'pose_loss.npz')
    height, width = int(reference['height']), int(reference['width'])
    head = YOLONASPoseHead(17, 'n')
    leaves = {name: torch.from_numpy(reference[name]).requires_grad_()
              for name in ('cls_logits', 'reg_distri', 'keypoints', 'keypoint_logits')}
    priors, strides = head._priors(
        [torch.empty(0, 1, height // s, width // s) for s in (8, 16, 32)])
    offsets = (leaves['keypoints'] - (priors - strides / 2)[:, None]) / strides[:, None]
    instances = []
    for image in range(3):
        rows = reference['gt_boxes'][:, 0] == image
        joints = torch.from_numpy(reference['gt_joints'][rows])
        instances.append(InstanceData(
            bboxes=torch.from_numpy(reference['gt_boxes'][rows, 1:]),
            labels=torch.zeros(int(rows.sum()), dtype=torch.long),
            keypoints=joints[..., 1:3], keypoints_visible=joints[..., 3],
            crowds=torch.from_numpy(reference['gt_crowd'][rows, 1])))
    dists = split_levels(leaves['reg_distri'], height, width)
    inputs = dict(
        cls_scores=split_levels(leaves['cls_logits'], height, width),
        bbox_preds=head._distances(dists),
        bbox_dists=dists, kpt_offsets=split_levels(offsets.flatten(2), height, width),
        kpt_scores=split_levels(leaves['keypoint_logits'], height, width),
        batch_gt_instances=instances)
    return reference, head, leaves, inputs


@pytest.mark.parametrize('detached', [False, True])
def test_loss_and_gradients(loss_case, detached):
    reference, head, leaves, inputs = loss_case
    if detached:
        inputs = {**inputs, 'bbox_preds': [x.detach() for x in inputs['bbox_preds']]}
    losses = head.loss_by_feat(**inputs)
    names = dict(loss_cls='loss_cls', loss_iou='loss_bbox', loss_dfl='loss_dfl',
                 loss_pose_cls='loss_kpt_score', loss_pose_reg='loss_kpt')
    expected = dict(zip(reference['loss_names'].tolist(), reference['loss_items']))
    for theirs, ours in names.items():
        assert losses[ours].item() == pytest.approx(expected[theirs], rel=1e-5), theirs
    total = sum(losses.values())
    assert total.item() == pytest.approx(float(reference['loss']), rel=1e-5)
    grads = torch.autograd.grad(total, list(leaves.values()), retain_graph=True)
    for grad, name in zip(grads, ('cls', 'reg', 'keypoints', 'keypoint_logits')):
        theirs = reference[f'grad_{name}']
        difference = grad.numpy() - theirs
        assert np.linalg.norm(difference) <= 1e-5 * np.linalg.norm(theirs), name
        assert np.abs(difference).max() <= 1e-5 * np.abs(theirs).max(), name


def test_assignment_is_identical(loss_case):
    reference, head, leaves, inputs = loss_case
    priors, strides = head._priors(inputs['cls_scores'])
    targets = pad_pose_targets(inputs['batch_gt_instances'], 17, 'cpu')
    assigned = head._assign(leaves['cls_logits'].detach(), inputs['bbox_preds'],
                            inputs['kpt_offsets'], priors, strides, targets)
    np.testing.assert_array_equal(assigned.labels.numpy(), reference['assigned_labels'])
    np.testing.assert_allclose(
        assigned.assigned_scores.numpy(), reference['assigned_scores'][..., 0], rtol=1e-4,
        atol=1e-6)
    foreground = reference['assigned_labels'] == 0
    np.testing.assert_array_equal(assigned.bboxes.numpy()[foreground],
                                  reference['assigned_boxes'][foreground])
    assert assigned.pos_mask.sum() + assigned.crowd_mask.sum() == foreground.sum()
