"""Task ObjectDetection."""
from copy import deepcopy
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdeploy.codebase.mmdet.deploy.object_detection import ObjectDetection as MMDetTask
from mmdeploy.codebase.mmdet.deploy.object_detection_model import End2EndModel
from mmdeploy.utils import Task, get_backend, get_input_shape
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmyolonas.export.config_metadata import test_pipeline

from .mmyolonas_codebase import MMYOLONAS_TASK
from .sdk import sdk_transforms
from .task_mixin import TaskMixin, as_list

META_KEYS = ['filename', 'ori_filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor',
             'flip', 'flip_direction', 'img_norm_cfg', 'valid_ratio', 'pad_param']


class DetectionBackendModel(End2EndModel):
    """mmdeploy's backend detector over our sessions."""

    def __init__(self, wrapper: Any, *args: Any, **kwargs: Any) -> None:
        # not yet a module that could hold another
        object.__setattr__(self, '_given', wrapper)
        super().__init__(*args, **kwargs)

    def _init_wrapper(self, *args: Any, **kwargs: Any) -> None:
        self.wrapper = self._given

    def forward(self, inputs: torch.Tensor, data_samples: list, mode: str = 'predict',
                **kwargs: Any) -> list:
        """Detect; boxes are clipped to the image as the head does."""
        samples = super().forward(inputs, data_samples, mode, **kwargs)
        for sample in samples:
            height, width = sample.ori_shape[:2]
            boxes = sample.pred_instances.bboxes
            limit = boxes.new_tensor([width, height, width, height])
            sample.pred_instances.bboxes = torch.minimum(boxes.clamp(min=0), limit)
        return samples


@MMYOLONAS_TASK.register_module(Task.OBJECT_DETECTION.value)
class ObjectDetection(TaskMixin, MMDetTask):
    """Detection with YOLO-NAS.

    Args:
        model_cfg (Config): Model config.
        deploy_cfg (Config): Deploy config.
        device (str): Device.
    """

    def __init__(self, model_cfg: Config, deploy_cfg: Config, device: str) -> None:
        self.init_task(model_cfg, deploy_cfg, device)

    def build_backend_model(self,
                            model_files: Optional[Sequence[str]] = None,
                            data_preprocessor_updater: Optional[Callable] = None,
                            **kwargs: Any) -> torch.nn.Module:
        """Load an exported file as a model that mmdet's test loop can run."""
        data_preprocessor = deepcopy(self.model_cfg.model.get('data_preprocessor', {}))
        if data_preprocessor_updater is not None:
            data_preprocessor = data_preprocessor_updater(data_preprocessor)
        data_preprocessor.setdefault('type', 'mmdet.DetDataPreprocessor')
        files = as_list(model_files)
        model = DetectionBackendModel(
            self.session_wrapper(files), backend=get_backend(self.deploy_cfg),
            backend_files=files, device=self.device, deploy_cfg=self.deploy_cfg,
            model_cfg=self.model_cfg, data_preprocessor=data_preprocessor)
        return model.to(self.device).eval()

    def create_input(self,
                     imgs: Any,
                     input_shape: Optional[Sequence[int]] = None,
                     data_preprocessor: Optional[torch.nn.Module] = None,
                     **kwargs: Any) -> Tuple[Dict, torch.Tensor]:
        """Run the test pipeline on images.

        Args:
            imgs (str | ndarray | list): Images.
            input_shape (Sequence[int], optional): (width, height) of the export.
            data_preprocessor (nn.Module, optional): Applied if given.

        Returns:
            tuple[dict, Tensor]: Batch and network input.
        """
        imgs = as_list(imgs)
        pipeline = self.resize_pipeline(test_pipeline(self.model_cfg), input_shape)
        if isinstance(imgs[0], np.ndarray):
            pipeline[0] = dict(type='mmdet.LoadImageFromNDArray')
        transform = Compose(pipeline)
        key = 'img' if isinstance(imgs[0], np.ndarray) else 'img_path'
        data = pseudo_collate([transform({key: img, 'img_id': 0}) for img in imgs])
        if data_preprocessor is None:
            return data, data['inputs']
        data = data_preprocessor(data, False)
        return data, data['inputs']

    def get_preprocess(self, *args: Any, **kwargs: Any) -> List[Dict]:
        """Return the SDK's transforms."""
        preprocess = self.metadata.preprocess
        input_shape = get_input_shape(self.deploy_cfg)
        if input_shape is not None:
            preprocess = preprocess.for_input_size(*input_shape)
        return sdk_transforms(preprocess, list(META_KEYS))

    def get_postprocess(self, *args: Any, **kwargs: Any) -> Dict:
        """Return the SDK's post-processing with the thresholds that hold."""
        rules = self.metadata.postprocess
        params = deepcopy(dict(self.model_cfg.model.test_cfg))
        params.update(score_thr=rules.score_threshold, max_per_img=rules.max_detections,
                      nms=dict(type='nms', iou_threshold=rules.iou_threshold))
        return dict(type='ResizeBBox', params=params)
