"""Our sessions behind mmdeploy's interface of a backend."""
from typing import Dict, Optional, Sequence, Tuple

import numpy as np
import torch
from mmdeploy.backend.base import BaseWrapper
from mmdeploy.utils.timer import TimeCounter

from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.runtime import open_session
from mmyolonas.runtime.flavour_outputs import standard_outputs
from mmyolonas.runtime.numpy_ops import suppress


class SessionWrapper(BaseWrapper):
    """A model file in any of our runtimes.

    mmdeploy 1.3.1's wrappers of OpenVINO and TensorRT call interfaces that
    those packages no longer have.

    Args:
        path (str): Model file.
        backend (str): Runtime.
        device (str): ``'cpu'`` or ``'cuda:0'``.
        output_names (Sequence[str]): Wanted outputs.
        metadata (ModelMetadata, optional): Description for files without one.
    """

    def __init__(self,
                 path: str,
                 backend: str,
                 device: str,
                 output_names: Sequence[str],
                 metadata: Optional[ModelMetadata] = None) -> None:
        super().__init__(list(output_names))
        self.session = open_session(path, backend, device)
        self.metadata = metadata
        if 'format' in self.session.props:
            self.metadata = self.session.metadata

    def forward(self, inputs: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """Run; whatever the NMS flavour, the result has mmdeploy's outputs."""
        feed = {name: np.ascontiguousarray(value.cpu().numpy())
                for name, value in inputs.items()}
        outputs = self._run(feed)
        if self.metadata is not None:
            outputs, form = standard_outputs(outputs, self.metadata)
            if form != 'onnx':
                height, width = next(iter(inputs.values())).shape[-2:]
                outputs = self._padded(outputs, (width, height))
        return {name: torch.from_numpy(outputs[name]) for name in self.output_names
                if name in outputs}

    @TimeCounter.count_time('mmyolonas')
    def _run(self, feed: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        fixed = self.session.inputs[0].shape[0]
        (name, batch), = feed.items()
        if fixed in (None, len(batch)):
            return self.session.run(feed)
        # a file of fixed batch size takes the batch in parts, the last one filled up
        parts = []
        for start in range(0, len(batch), fixed):
            part = batch[start:start + fixed]
            filled = np.zeros((fixed, *part.shape[1:]), part.dtype)
            filled[:len(part)] = part
            outputs = self.session.run({name: filled})
            parts.append({key: value[:len(part)] for key, value in outputs.items()})
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _padded(self, outputs: Dict[str, np.ndarray],
                input_size: Tuple[int, int]) -> Dict[str, np.ndarray]:
        """Bring raw or EfficientNMS outputs into the padded form."""
        if 'num_dets' in outputs:
            dets = np.concatenate([outputs['boxes'], outputs['scores'][..., None]], axis=2)
            beyond = np.arange(dets.shape[1]) >= outputs['num_dets'].reshape(-1, 1)
            dets[beyond] = 0
            return dict(dets=dets, labels=outputs['labels'].astype(np.int64))
        rules, batch = self.metadata.postprocess, len(outputs['boxes'])
        dets = np.zeros((batch, rules.max_detections, 5), np.float32)
        labels = np.full(dets.shape[:2], -1, np.int64)
        result = dict(dets=dets, labels=labels)
        if 'keypoints' in outputs:
            points = np.concatenate(
                [outputs['keypoints'], outputs['keypoint_scores'][..., None]], axis=3)
            result['keypoints'] = np.zeros((batch, rules.max_detections, *points.shape[2:]),
                                           np.float32)
        for index in range(batch):
            boxes, scores, label, prior = suppress(
                outputs['boxes'][index], outputs['scores'][index], rules, input_size)
            dets[index, :len(boxes)] = np.concatenate([boxes, scores[:, None]], axis=1)
            labels[index, :len(boxes)] = label
            if 'keypoints' in outputs:
                result['keypoints'][index, :len(boxes)] = points[prior]
        return result
