"""What both tasks share."""
from itertools import count
from typing import Any, List, Optional, Sequence

from mmdeploy.codebase.base import BaseTask
from mmdeploy.utils import get_backend, get_ir_config
from mmengine.config import Config
from torch import nn

from mmyolonas.export.config_metadata import metadata_from_config
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.models.layers import fuse_blocks

from .session_wrapper import SessionWrapper

_NUMBER = count()


class TaskMixin:
    """Scope, fusion, pre-processing and backend of a task."""

    def init_task(self, model_cfg: Config, deploy_cfg: Config, device: str) -> None:
        """Initialise mmdeploy's base under a name of its own.

        Under the default name only the first task of a process makes its
        config's scope the current one.
        """
        BaseTask.__init__(self, model_cfg, deploy_cfg, device,
                          experiment_name=f'mmyolonas_task_{next(_NUMBER)}')

    @property
    def metadata(self) -> ModelMetadata:
        """ModelMetadata: Description of model and deployment."""
        return metadata_from_config(self.model_cfg, self.deploy_cfg)

    def build_pytorch_model(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Build the model, fused: a detector of other making may leave blocks as they are."""
        model = super().build_pytorch_model(*args, **kwargs)
        fuse_blocks(model)
        return model

    def session_wrapper(self, files: Sequence[str]) -> SessionWrapper:
        """Load a model file for mmdeploy's backend model."""
        names: List[str] = get_ir_config(self.deploy_cfg)['output_names']
        backend = get_backend(self.deploy_cfg).value
        if backend == 'tensorrt':
            backend = self.deploy_cfg['backend_config'].get('package', backend)
        return SessionWrapper(files[0], backend, self.device, names, self.metadata)

    def resize_pipeline(self, pipeline: List[dict], input_shape: Optional[Sequence[int]]) -> List:
        """Return a test pipeline for another input size, its border kept.

        mmdeploy's own adaption stretches the image to the input shape and
        leaves the padding out.

        Args:
            pipeline (list[dict]): Transforms; not changed.
            input_shape (Sequence[int], optional): (width, height), None for the
                pipeline's own.
        """
        pipeline = [dict(step) for step in pipeline if 'LoadAnnotations' not in step['type']]
        if input_shape is None:
            return pipeline
        adapted = self.metadata.preprocess.for_input_size(*input_shape)
        for step in pipeline:
            name = step['type'].rsplit('.', 1)[-1]
            if name == 'Resize' and adapted.resize_size:
                step['scale'] = tuple(adapted.resize_size)
            elif name in ('CenterPad', 'Pad') and ('size' in step or name == 'CenterPad'):
                step['size'] = tuple(adapted.pad_size)
            elif name == 'PoseResizePad':
                step['input_size'] = tuple(adapted.pad_size)
        return pipeline


def as_list(value: Any) -> List:
    """Return lists and tuples as lists, anything else in one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
