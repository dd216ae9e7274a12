"""Task PoseDetection, one-stage."""
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdeploy.codebase.base import BaseBackendModel, BaseTask
from mmdeploy.utils import Task
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from mmyolonas.export.config_metadata import test_pipeline
from mmyolonas.utils.optional import require

from .mmyolonas_codebase import MMYOLONAS_TASK
from .task_mixin import TaskMixin, as_list


class PoseBackendModel(BaseBackendModel):
    """An exported pose estimator that mmpose's test loop can run.

    Args:
        wrapper (SessionWrapper): The file.
        deploy_cfg (Config): Deploy config.
        data_preprocessor (nn.Module): mmpose's.
    """

    def __init__(self, wrapper: Any, deploy_cfg: Config,
                 data_preprocessor: torch.nn.Module) -> None:
        super().__init__(deploy_cfg=deploy_cfg, data_preprocessor=data_preprocessor)
        self.wrapper = wrapper

    def forward(self, inputs: torch.Tensor, data_samples: list, mode: str = 'predict',
                **kwargs: Any) -> list:
        """Detect poses and map them back to the images."""
        outputs = self.wrapper({self.input_name: inputs.contiguous()})
        for dets, points, sample in zip(outputs['dets'], outputs['keypoints'], data_samples):
            keep = dets[:, 4] > 0
            sample.pred_instances = self.instances(dets[keep], points[keep], sample.metainfo)
        return data_samples

    @staticmethod
    def instances(dets: torch.Tensor, points: torch.Tensor, meta: dict) -> InstanceData:
        """Return poses (N) in pixels of the image."""
        size = np.asarray(meta['input_size'], np.float32)
        scale = np.asarray(meta['input_scale'], np.float32)
        shift = np.asarray(meta['input_center'], np.float32) - 0.5 * scale
        dets, points = dets.numpy(), points.numpy()
        result = InstanceData()
        result.bboxes = (dets[:, :4].reshape(-1, 2, 2) / size * scale + shift).reshape(-1, 4)
        result.bbox_scores = result.scores = dets[:, 4]
        result.labels = np.zeros(len(dets), np.int64)
        result.keypoints = points[..., :2] / size * scale + shift
        result.keypoint_scores = result.keypoints_visible = points[..., 2]
        return result


@MMYOLONAS_TASK.register_module(Task.POSE_DETECTION.value)
class PoseDetection(TaskMixin, BaseTask):
    """Pose estimation with YOLO-NAS-Pose.

    mmdeploy's own task is made for two stages and for codecs; the SDK has no
    one-stage pose either, for which :class:`mmyolonas.apis.Runtime` serves.

    Args:
        model_cfg (Config): Model config.
        deploy_cfg (Config): Deploy config.
        device (str): Device.
    """

    def __init__(self, model_cfg: Config, deploy_cfg: Config, device: str) -> None:
        require('mmpose', 'The task PoseDetection')
        from mmpose.utils import register_all_modules
        register_all_modules(init_default_scope=False)
        self.init_task(model_cfg, deploy_cfg, device)

    def build_backend_model(self,
                            model_files: Optional[Sequence[str]] = None,
                            data_preprocessor_updater: Optional[Callable] = None,
                            **kwargs: Any) -> torch.nn.Module:
        """Load an exported file as a model that mmpose's test loop can run."""
        cfg = self.model_cfg.model.data_preprocessor
        if data_preprocessor_updater is not None:
            cfg = data_preprocessor_updater(cfg)
        model = PoseBackendModel(self.session_wrapper(as_list(model_files)), self.deploy_cfg,
                                 MODELS.build(cfg))
        return model.to(self.device).eval()

    def create_input(self,
                     imgs: Any,
                     input_shape: Optional[Sequence[int]] = None,
                     data_preprocessor: Optional[torch.nn.Module] = None,
                     **kwargs: Any) -> Tuple[Dict, torch.Tensor]:
        """Run the test pipeline on images; see :class:`ObjectDetection`."""
        pipeline = self.resize_pipeline(test_pipeline(self.model_cfg), input_shape)
        transform = Compose(pipeline)
        data = []
        for number, image in enumerate(as_list(imgs)):
            sample = {'img': image} if isinstance(image, np.ndarray) else {'img_path': image}
            sample.update(id=number, img_id=number, raw_ann_info={}, dataset_name='',
                          flip_indices=[])
            data.append(transform(sample))
        data = pseudo_collate(data)
        if data_preprocessor is None:
            return data, data['inputs']
        data = data_preprocessor(data, False)
        return data, data['inputs']

    def visualize(self, image: Any, result: Any, output_file: str, **kwargs: Any) -> None:
        """Draw poses into ``output_file``."""
        from mmyolonas.runtime.drawing import save_picture
        from mmyolonas.runtime.result import RuntimeResult
        found, meta = result.pred_instances, self.metadata
        height, width = result.ori_shape[:2]
        drawn = RuntimeResult(
            found.bboxes, found.bbox_scores, found.labels, meta.class_names, (width, height),
            found.keypoints, found.keypoint_scores, meta.skeleton)
        save_picture(output_file, drawn.above(0.3).draw(image))

    @staticmethod
    def get_partition_cfg(partition_type: str, **kwargs: Any) -> Dict:
        """Refuse; the graph is exported as a whole."""
        raise NotImplementedError('YOLO-NAS-Pose is exported as a whole.')

    def get_model_name(self, *args: Any, **kwargs: Any) -> str:
        """Return the estimator's name."""
        return self.model_cfg.model.type.lower()

    def get_preprocess(self, *args: Any, **kwargs: Any) -> Dict:
        """Refuse; see :meth:`get_postprocess`."""
        return self.get_postprocess()

    def get_postprocess(self, *args: Any, **kwargs: Any) -> Dict:
        """Refuse: the SDK has no pipeline for one-stage pose."""
        raise NotImplementedError(
            "mmdeploy's SDK cannot serve one-stage pose; use mmyolonas.apis.Runtime, which "
            'needs numpy and the runtime only.')
