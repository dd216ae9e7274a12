"""Detection against numbers measured on the original implementation."""
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from mmyolonas.models.backbones import YOLONASBackbone
from mmyolonas.models.dense_heads import YOLONASHead
from mmyolonas.models.layers import QARepVGGBlock
from mmyolonas.models.necks import YOLONASPAN
from mmyolonas.models.utils import distances_to_boxes, flatten_levels, integral, pad_targets
from tests.reference import DATA, fill_with_reference_weights, reference_input, split_levels

STRIDES = (8, 16, 32)


def build(arch: str) -> nn.Module:
    model = nn.Module()
    model.backbone = YOLONASBackbone(arch)
    model.neck = YOLONASPAN(arch)
    model.bbox_head = YOLONASHead(80, arch)
    return model


@pytest.mark.parametrize('arch, trainable, fused', [('s', 12_878_304, 12_175_888),
                                                    ('m', 33_861_346, 31_906_578),
                                                    ('l', 44_529_448, 41_999_192)])
def test_number_of_parameters(arch, trainable, fused):
    """The numbers are those of the original less its unused convolutions."""
    with torch.device('meta'):
        model = build(arch)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    model = model.to_empty(device='cpu')
    model.backbone.switch_to_deploy()
    model.neck.switch_to_deploy()
    assert sum(p.numel() for p in model.parameters()) == fused


@pytest.mark.parametrize('form', ['unfused', 'partial', 'full'])
@torch.no_grad()
def test_outputs(form):
    reference = np.load(DATA / 'yolo_nas_s.npz')
    model = fill_with_reference_weights(build('s'))
    blocks = [m for m in model.modules() if isinstance(m, QARepVGGBlock)]
    assert len(blocks) == 37
    for block in blocks:
        if form == 'partial':
            block.fuse_partial()
        elif form == 'full':
            block.switch_to_deploy()
    feats = model.neck(model.backbone(reference_input(reference)))
    boxes, scores = model.bbox_head.decode(feats)
    cls_scores, _, bbox_dists = model.bbox_head.forward_raw(feats)
    for name, value, tolerance in [('boxes', boxes, 1e-3), ('scores', scores, 1e-5),
                                   ('cls_logits', flatten_levels(cls_scores), 1e-4),
                                   ('reg_distri', flatten_levels(bbox_dists), 1e-4)]:
        np.testing.assert_allclose(value.numpy(), reference[name], rtol=0, atol=tolerance)


@pytest.fixture(scope='module')
def loss_case():
    data = np.load(DATA / 'detection_loss.npz')
    targets = torch.from_numpy(data['targets'])
    instances = []
    for image in range(len(data['cls_logits'])):
        _, labels, centre, size = targets[targets[:, 0] == image].split([1, 1, 2, 2], dim=1)
        instances.append(InstanceData(
            labels=labels[:, 0].long(),
            bboxes=torch.cat([centre - size / 2, centre + size / 2], dim=1)))
    assert min(len(x) for x in instances) == 0, 'one image of the case has no objects'
    return data, instances


def case_levels(data, requires_grad: bool = True):
    height, width = int(data['height']), int(data['width'])
    cls_logits = torch.from_numpy(data['cls_logits']).requires_grad_(requires_grad)
    reg_logits = torch.from_numpy(data['reg_distri']).requires_grad_(requires_grad)
    bbox_dists = split_levels(reg_logits, height, width)
    bbox_preds = [integral(x, 16) * s for x, s in zip(bbox_dists, STRIDES)]
    return cls_logits, reg_logits, split_levels(cls_logits, height, width), bbox_preds, bbox_dists


@pytest.mark.parametrize('detach', [False, True], ids=['graph', 'detached'])
def test_losses_and_gradients(loss_case, detach):
    """Distances with a graph and distances without one train the same logits."""
    data, instances = loss_case
    cls_logits, reg_logits, cls_scores, bbox_preds, bbox_dists = case_levels(data)
    if detach:
        bbox_preds = [x.detach() for x in bbox_preds]
    losses = YOLONASHead(int(data['num_classes'])).loss_by_feat(
        cls_scores, bbox_preds, bbox_dists, instances, [{}] * len(instances))
    values = [losses[k].item() for k in ('loss_cls', 'loss_bbox', 'loss_dfl')]
    np.testing.assert_allclose(values, data['loss_items'][:3], rtol=1e-5)
    total = sum(losses.values())
    np.testing.assert_allclose(total.item(), float(data['loss']), rtol=1e-5)
    total.backward()
    for grad, name in [(cls_logits.grad, 'grad_cls'), (reg_logits.grad, 'grad_reg')]:
        expected = torch.from_numpy(data[name])
        assert (grad - expected).norm() <= 1e-5 * expected.norm()


def test_assignment(loss_case):
    data, instances = loss_case
    num_classes = int(data['num_classes'])
    head = YOLONASHead(num_classes)
    cls_logits, _, cls_scores, bbox_preds, _ = case_levels(data, requires_grad=False)
    priors, _ = head._priors(cls_scores)
    boxes = distances_to_boxes(priors, flatten_levels(bbox_preds))
    result = head.assigner.assign(cls_logits.sigmoid(), boxes, priors,
                                  pad_targets(instances, boxes.device))
    np.testing.assert_array_equal(result.labels.numpy(), data['assigned_labels'])
    positive = result.pos_mask.numpy()
    assert positive.sum() > 50
    np.testing.assert_allclose(
        result.bboxes.numpy()[positive], data['assigned_boxes'][positive], atol=1e-4)
    np.testing.assert_allclose(
        result.one_hot_scores(num_classes).numpy(), data['assigned_scores'], rtol=1e-5, atol=1e-7)
