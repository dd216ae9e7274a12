"""Small models with spread-out scores, and files exported from them once per run."""
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import pytest
import torch
from torch import nn

from mmyolonas.export.metadata import ModelMetadata, Postprocess, Preprocess
from tests.tiny import model_config

STAGES = [dict(out_channels=c, num_blocks=2, hidden_channels=8) for c in (8, 16, 16, 32)]
NECK = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (16, 16, 16, 32)]


def spread(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model weights under which scores and boxes differ from prior to prior."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: torch.Tensor, std: float) -> None:
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * std)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.data.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            fan_in = module.weight[0].numel()
            normal(module.weight, fan_in ** -0.5)
            if module.bias is not None:
                normal(module.bias, 0.1)
            if name.endswith('cls_pred'):
                module.bias.data -= 3
        elif isinstance(module, nn.BatchNorm2d):
            low, high = (0.5, 0.7) if 'post_bn' in name else (0.8, 1.2)  # keeps them bounded
            uniform(module.weight, low, high)
            normal(module.bias, 0.1)
            normal(module.running_mean, 0.1)
            uniform(module.running_var, 0.6, 1.4)
        elif hasattr(module, 'alpha') and isinstance(module.alpha, nn.Parameter):
            uniform(module.alpha, 0.7, 1.3)
    scale_predictions(model.eval())
    return model


@torch.no_grad()
def scale_predictions(model: nn.Module) -> None:
    """Scale the last convolutions so that their outputs vary by 2 over the picture."""

    def scale(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        spreads = (output - module.bias[:, None, None]).std(dim=(0, 2, 3))
        module.weight.mul_((2 / spreads.clamp(min=1e-3))[:, None, None, None])
        centre = torch.nn.functional.conv2d(inputs[0], module.weight).mean(dim=(0, 2, 3))
        module.bias.sub_(centre)

    handles = [module.register_forward_hook(scale) for name, module in model.named_modules()
               if name.endswith('_pred')]
    head = getattr(model, 'head', None) or model.bbox_head
    head.forward_raw(model.neck(model.backbone(torch.from_numpy(pixels(2, 96, 128, seed=9)))))
    for handle in handles:
        handle.remove()


def detector() -> nn.Module:
    """Return a small detector of three classes."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import MODELS
    register_all_modules(init_default_scope=False)
    cfg = model_config(3)
    cfg['data_preprocessor']['type'] = 'mmdet.DetDataPreprocessor'
    cfg['backbone']['arch']['stages'] = STAGES
    cfg['test_cfg'] = dict(score_thr=0.2, nms_pre=1000, nms=dict(type='nms', iou_threshold=0.6),
                           max_per_img=50)
    return spread(MODELS.build(cfg))


class PoseNet(nn.Module):
    """Backbone, neck and pose head without mmpose."""

    def __init__(self) -> None:
        super().__init__()
        from mmengine.registry import MODELS
        self.backbone = MODELS.build(dict(
            type='mmyolonas.YOLONASBackbone',
            arch=dict(stem_channels=8, context_channels=32, stages=STAGES)))
        self.neck = MODELS.build(dict(
            type='mmyolonas.YOLONASPAN', arch=dict(in_channels=(8, 16, 16, 32), stages=NECK)))
        self.head = MODELS.build(dict(
            type='mmyolonas.YOLONASPoseHead', num_keypoints=5, sigmas=[0.1] * 5,
            in_channels=(16, 16, 32), feat_channels=(8, 8, 8), pose_channels=(8, 8, 8),
            num_pose_convs=1))


def pose_estimator() -> nn.Module:
    """Return a small pose estimator of five key points."""
    return spread(PoseNet(), seed=1)


def metadata(task: str) -> ModelMetadata:
    """Describe the small models."""
    if task == 'pose':
        return ModelMetadata(
            task='pose', class_names=['person'],
            preprocess=Preprocess(resize_size=[128, 96], pad_size=[128, 96], inverse='ratio',
                                  channel_order='BGR', pad_value=[127.] * 3),
            postprocess=Postprocess(nms='onnx', score_threshold=0.2, iou_threshold=0.6,
                                    pre_top_k=300, max_detections=20, clip=False),
            keypoint_names=list('abcde'), skeleton=[[0, 1], [1, 2]], keypoint_sigmas=[0.1] * 5)
    return ModelMetadata(
        class_names=['ape', 'bee', 'cat'],
        preprocess=Preprocess(resize_size=[124, 92], pad_size=[128, 96], pad_position='center'),
        postprocess=Postprocess(nms='onnx', score_threshold=0.2, iou_threshold=0.6,
                                pre_top_k=1000, max_detections=50))


@dataclass
class Zoo:
    """Models and the files made of them.

    Args:
        folder (Path): Where the files are.
    """
    folder: Path

    def __post_init__(self) -> None:
        self._models: Dict[str, nn.Module] = {}
        self._files: Dict[Tuple, str] = {}
        self._makers: Dict[str, Callable] = dict(detection=detector, pose=pose_estimator)

    def model(self, task: str) -> nn.Module:
        """Return the small model of a task."""
        if task not in self._models:
            self._models[task] = self._makers[task]()
        return self._models[task]

    def file(self, task: str = 'detection', nms: str = 'onnx', dynamic: str = 'none',
             batch: int = 1) -> str:
        """Return an ONNX file of 96 x 128 pixels."""
        key = (task, nms, dynamic, batch)
        if key not in self._files:
            path = str(self.folder / ('_'.join(map(str, key)) + '.onnx'))
            from mmyolonas.export import export_onnx
            export_onnx(self.model(task), path, (batch, 3, 96, 128), nms=nms,
                        metadata=metadata(task), dynamic=dynamic)
            self._files[key] = path
        return self._files[key]

    @torch.no_grad()
    def decoded(self, task: str, image: np.ndarray) -> Dict[str, np.ndarray]:
        """Return what the unfused model's ``decode`` gives, by output name."""
        model = self.model(task)
        head = model.head if task == 'pose' else model.bbox_head
        values = head.decode(model.neck(model.backbone(torch.from_numpy(image))))
        names = ('boxes', 'scores', 'keypoints', 'keypoint_scores')
        return {name: value.numpy() for name, value in zip(names, values)}


_ZOO: List[Zoo] = []


@pytest.fixture(scope='session')
def zoo(tmp_path_factory) -> Zoo:
    """Return the small models and their files; the same for every folder of tests."""
    if not _ZOO:
        _ZOO.append(Zoo(tmp_path_factory.mktemp('exported')))
    return _ZOO[0]


@pytest.fixture
def image() -> np.ndarray:
    """Return a BGR picture of 80 x 100 pixels with some structure."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (10, 13, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:80, :100].copy()


def pixels(batch: int, height: int, width: int, seed: int = 5) -> np.ndarray:
    """Return network inputs within [0, 1] with some structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((batch, 3, height // 8, width // 8), np.float32)
    return np.ascontiguousarray(np.repeat(np.repeat(coarse, 8, 2), 8, 3))
