"""The reference numbers of the original, computed on the device."""
from typing import Any, Dict

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import nn

from benchmarks.gpu.models import relative
from benchmarks.gpu.verdict import verdict
from mmyolonas.models.utils import distances_to_boxes, flatten_levels, integral, pad_targets

STRIDES = (8, 16, 32)
#: Largest relative errors: what tests/ demand of the CPU, and of outputs that have passed fifty
#: layers of another order of summation ten times as much.
TOLERANCES = dict(outputs=1e-4, losses=1e-5, gradients=1e-5, labels=0)


def check_fixtures(device: str) -> Dict[str, Any]:
    """Compare outputs, losses, gradients and assignment with the original's."""
    found = dict(s=_outputs('s', device), pose_n=_outputs('pose_n', device),
                 detection_loss=_detection_loss(device))
    return dict({name: verdict(errors, TOLERANCES) for name, errors in found.items()},
                passed=all(verdict(e, TOLERANCES)['passed'] for e in found.values()))


def _outputs(name: str, device: str) -> Dict[str, float]:
    from mmyolonas.models.backbones import YOLONASBackbone
    from mmyolonas.models.dense_heads import YOLONASHead
    from mmyolonas.models.necks import YOLONASPAN
    from mmyolonas.models.pose_heads import YOLONASPoseHead
    from tests.reference import DATA, fill_with_reference_weights, reference_input
    reference = np.load(DATA / f'yolo_nas_{name}.npz')
    net, arch = nn.Module(), name[-1]
    norm = dict(type='BN', momentum=0.03, eps=1e-3 if name == 's' else 1e-6)
    net.backbone = YOLONASBackbone(arch, norm_cfg=norm)
    net.neck = YOLONASPAN(arch, norm_cfg=norm)
    if name == 's':
        net.bbox_head = YOLONASHead(80, arch, norm_cfg=norm)
    else:
        net.head = YOLONASPoseHead(17, arch, norm_cfg=norm)
    net = fill_with_reference_weights(net).to(device)
    head = getattr(net, 'bbox_head', None) or net.head
    with torch.no_grad():
        outputs = head.decode(net.neck(net.backbone(reference_input(reference).to(device))))
    names = ('boxes', 'scores', 'keypoints', 'keypoint_scores')
    return dict(outputs=max(relative(value, torch.from_numpy(reference[key]))
                            for key, value in zip(names, outputs)))


def _detection_loss(device: str) -> Dict[str, float]:
    from mmyolonas.models.dense_heads import YOLONASHead
    from tests.reference import DATA, split_levels
    data = np.load(DATA / 'detection_loss.npz')
    height, width, classes = (int(data[k]) for k in ('height', 'width', 'num_classes'))
    targets = torch.from_numpy(data['targets']).to(device)
    instances = []
    for image in range(len(data['cls_logits'])):
        _, labels, centre, size = targets[targets[:, 0] == image].split([1, 1, 2, 2], dim=1)
        instances.append(InstanceData(
            labels=labels[:, 0].long(),
            bboxes=torch.cat([centre - size / 2, centre + size / 2], dim=1)))
    scores, dists = (torch.from_numpy(data[k]).to(device).requires_grad_()
                     for k in ('cls_logits', 'reg_distri'))
    maps, dist_maps = (split_levels(x, height, width) for x in (scores, dists))
    preds = [integral(x, 16) * s for x, s in zip(dist_maps, STRIDES)]
    head = YOLONASHead(classes).to(device)
    losses = head.loss_by_feat(maps, preds, dist_maps, instances, [{}] * len(instances))
    sum(losses.values()).backward()
    values = torch.stack([losses[k] for k in ('loss_cls', 'loss_bbox', 'loss_dfl')])
    with torch.no_grad():
        priors, _ = head._priors(maps)
        assigned = head.assigner.assign(
            scores.sigmoid(), distances_to_boxes(priors, flatten_levels(preds)), priors,
            pad_targets(instances, torch.device(device)))
    wrong = assigned.labels.cpu() != torch.from_numpy(data['assigned_labels'])
    return dict(losses=relative(values, torch.from_numpy(data['loss_items'][:3])),
                gradients=max(relative(scores.grad, torch.from_numpy(data['grad_cls'])),
                              relative(dists.grad, torch.from_numpy(data['grad_reg']))),
                labels=float(wrong.sum()))
