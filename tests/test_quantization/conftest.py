"""A tiny detector, its 8-bit form and its ONNX file."""
import copy
from importlib.util import find_spec

import onnx
import pytest
import torch
from mmengine.registry import init_default_scope

import mmyolonas.models  # noqa: F401
from mmyolonas.registry import MODELS

# the quantiser library needs torch >= 2.8 and is optional
collect_ignore_glob = [] if find_spec('modelopt') else ['test_*.py']
SIZE = 64


def tiny_config(num_classes: int = 3, concat_intermediates: bool = False) -> dict:
    """Return the config of a YOLO-NAS of a few thousand weights."""
    stages = [dict(out_channels=c, num_blocks=n, hidden_channels=8,
                   concat_intermediates=concat_intermediates)
              for c, n in ((16, 1), (16, 2), (24, 1), (32, 1))]
    neck = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (16, 16, 24, 32)]
    return dict(
        type='mmyolonas.YOLONAS',
        backbone=dict(type='mmyolonas.YOLONASBackbone', arch=dict(
            stem_channels=8, stages=stages, context_channels=32)),
        neck=dict(type='mmyolonas.YOLONASPAN', arch=dict(
            in_channels=(16, 16, 24, 32), stages=neck)),
        bbox_head=dict(
            type='mmyolonas.YOLONASHead', num_classes=num_classes, in_channels=(16, 24, 32),
            feat_channels=(16, 16, 16)),
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor', mean=[0] * 3, std=[255] * 3, bgr_to_rgb=True,
            pad_size_divisor=32),
        test_cfg=dict(score_thr=0.01, nms_pre=100, nms=dict(type='nms', iou_threshold=0.7),
                      max_per_img=50))


def build_tiny(**kwargs) -> torch.nn.Module:
    """Return a tiny model with moving statistics and shortcut scales that are not trivial."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(tiny_config(**kwargs))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, std=0.1)
        if hasattr(module, 'shortcut'):
            torch.nn.init.uniform_(module.alpha, 0.8, 1.2)
    return model.eval()


def images(count: int, seed: int = 0) -> list:
    """Return images (1, 3, SIZE, SIZE) within [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, SIZE, SIZE, generator=generator) for _ in range(count)]


@pytest.fixture(scope='session')
def fused():
    from mmyolonas.quantization import fuse_model
    return fuse_model(build_tiny())


@pytest.fixture(scope='session')
def calibrated(fused):
    """A calibrated model and its ranges."""
    from mmyolonas.quantization import calibrate, quantise_model
    quantised = quantise_model(copy.deepcopy(fused))
    return quantised, calibrate(quantised, images(4), num_images=4, method='max')


@pytest.fixture(scope='session')
def float_onnx(fused, tmp_path_factory):
    from mmyolonas.export import export_onnx
    path = tmp_path_factory.mktemp('onnx') / 'float.onnx'
    export_onnx(fused, str(path), (1, 3, SIZE, SIZE), nms='none', fold_shortcuts=False,
                verify=False)
    return onnx.load(str(path))
