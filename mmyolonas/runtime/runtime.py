"""Detection and pose from exported files: numpy in, numpy out, no torch."""
import os
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from mmyolonas.export.flavours.table import flavour_of, output_sides
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.runtime import open_session
from mmyolonas.runtime.flavour_outputs import standard_outputs
from mmyolonas.runtime.numpy_ops import Geometry, letterbox, read_image, suppress
from mmyolonas.runtime.result import Image, RuntimeResult

#: Boxes, scores, labels, and for pose key points.
Selected = Tuple[np.ndarray, np.ndarray, np.ndarray, Optional[np.ndarray]]


class Runtime:
    """A detector or pose estimator from a file, in one of nine runtimes.

    Pre-processing, class names and thresholds come from the file. Use it as a
    context manager, or call :meth:`close`::

        with Runtime('end2end.onnx', num_threads=2) as model:
            result = model('image.jpg')
            results = model([image, 'other.jpg'])

    Args:
        path (str): ``.onnx``, ``.xml``, ``.engine``, ``.param``, ``.mnn``, ``.tflite`` or
            ``.pte`` file.
        backend (str, optional): See :func:`mmyolonas.runtime.open_session`; by the suffix
            if None.
        device (str): ``'cpu'`` or ``'cuda'``. Defaults to ``'cpu'``.
        num_threads (int, optional): Threads of a CPU runtime.
        batch_size (int): Images per run for files with a free batch size.
            Defaults to 1.
        score_threshold (float, optional): Higher than the file's; files that
            suppress themselves have dropped everything below theirs.
        input_size (tuple[int, int], optional): (width, height) for files with
            free sides.
        metadata (ModelMetadata, optional): Description of a file without one.

    Raises:
        FileNotFoundError: No such file.
        ImportError: The runtime is not installed.
        ValueError: The file is from elsewhere, or an argument does not fit it.
    """

    def __init__(self,
                 path: str,
                 backend: Optional[str] = None,
                 device: str = 'cpu',
                 num_threads: Optional[int] = None,
                 batch_size: int = 1,
                 score_threshold: Optional[float] = None,
                 input_size: Optional[Sequence[int]] = None,
                 metadata: Optional[ModelMetadata] = None) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}.')
        if score_threshold is not None and not 0 <= score_threshold <= 1:  # NaN is neither
            raise ValueError(f'score_threshold must lie within 0 and 1, got {score_threshold}.')
        self.session = open_session(path, backend, device, num_threads)
        try:
            self.metadata = metadata or self.session.metadata
        except ValueError:
            self.session.close()
            raise
        self.score_threshold = score_threshold
        rules = self.metadata.postprocess
        if score_threshold is not None and flavour_of(rules.nms).suppressed and (
                score_threshold < rules.score_threshold):
            self.session.close()
            raise ValueError(
                f'score_threshold {score_threshold} is below the {rules.score_threshold} that '
                'the file was exported with; export it again with a lower one.')
        try:
            self._check_graph(path)
        except ValueError:
            self.session.close()
            raise
        self._input = self.session.inputs[0]
        fixed_batch, _, height, width = self._input.shape
        self.batch_size = fixed_batch or batch_size
        self._fixed_batch = fixed_batch
        self.preprocessing = self.metadata.preprocess
        if width and height:
            if input_size and tuple(input_size) != (width, height):
                self.session.close()
                raise ValueError(f'{path} takes images of {width} x {height} pixels, not '
                                 f'{input_size[0]} x {input_size[1]}; export another one or '
                                 'one with a dynamic shape.')
            input_size = (width, height)
        if input_size:
            self.preprocessing = self.preprocessing.for_input_size(*input_size)

    def _check_graph(self, path: str) -> None:
        """Raise unless inputs and outputs are what the description says."""
        inputs, outputs = self.session.inputs, {i.name: i for i in self.session.outputs}
        wanted = output_sides(self.metadata.postprocess.nms, self.metadata.task,
                              self.metadata.strides)
        kind = 'uint8' if self.preprocessing_in_graph else 'float32'
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, None) or (
                inputs[0].dtype != kind):
            raise ValueError(f'{path} is no detector of ours: it should take one batch of images '
                             f'({kind}, batch x 3 x height x width), and takes '
                             + ', '.join(f'{i.name} {i.dtype} {i.shape}' for i in inputs))
        for name, sides in wanted.items():
            if outputs and (name not in outputs or len(outputs[name].shape) != sides):
                raise ValueError(f'{path} is no detector of ours: by its description it gives '
                                 f'{", ".join(wanted)}, and it gives '
                                 + ', '.join(f'{i.name} {i.shape}' for i in outputs.values()))

    @property
    def preprocessing_in_graph(self) -> bool:
        """bool: Whether the file takes raw BGR pixels."""
        return self.metadata.preprocess.in_graph

    def __call__(self, images: Union[Image, Iterable[Image]]) -> Union[
            RuntimeResult, List[RuntimeResult]]:
        """Detect.

        Args:
            images (str | ndarray | iterable of them): Paths, or BGR images of
                shape (H, W, 3), ``uint8``.

        Returns:
            RuntimeResult | list[RuntimeResult]: One result for one image, a
            list for several.
        """
        if isinstance(images, (str, os.PathLike, np.ndarray)):
            return self.predict([images])[0]
        return self.predict(list(images))

    def predict(self, images: Sequence[Image]) -> List[RuntimeResult]:
        """Detect in several images, ``batch_size`` at a time.

        Args:
            images (Sequence[str | ndarray]): Files, or (H, W, 3) BGR, uint8.

        Returns:
            list[RuntimeResult]: One for each image, boxes in its pixels.
        """
        results: List[RuntimeResult] = []
        for start in range(0, len(images), self.batch_size):
            prepared = [self._prepare(image) for image in images[start:start + self.batch_size]]
            # files with free sides take images of different shapes one shape at a time
            found: Dict[int, RuntimeResult] = {}
            for shape in {plane.shape: None for plane, _ in prepared}:
                places = [i for i, (plane, _) in enumerate(prepared) if plane.shape == shape]
                blob, geometries = self._stack([prepared[i] for i in places])
                found.update(zip(places, self.postprocess(self.infer(blob), geometries)))
            results += [found[index] for index in range(len(prepared))]
        return results

    def _prepare(self, image: Image) -> Tuple[np.ndarray, Geometry]:
        return letterbox(read_image(image), self.preprocessing)

    def preprocess(self, images: Sequence[Image]) -> Tuple[np.ndarray, List[Geometry]]:
        """Return the input of shape (B, 3, H, W) and how to map results back.

        A file with a fixed batch size gets empty images after the given ones.

        Args:
            images (Sequence[str | ndarray]): Files, or (H, W, 3) BGR, uint8.

        Returns:
            tuple[ndarray, list[Geometry]]: The batch in the file's number type, and
            one geometry for each image.

        Raises:
            ValueError: The images have different shapes after resizing.
        """
        return self._stack([self._prepare(image) for image in images])

    def _stack(self, prepared: Sequence[Tuple[np.ndarray, Geometry]]) -> Tuple[
            np.ndarray, List[Geometry]]:
        planes, geometries = [plane for plane, _ in prepared], [way for _, way in prepared]
        if len({plane.shape for plane in planes}) > 1:
            raise ValueError('the images of a batch have different shapes after resizing; '
                             'pass input_size=, or use batch_size=1.')
        if len(planes) == 1 and self._fixed_batch in (None, 1):
            return planes[0][None], geometries
        blob = np.zeros((self._fixed_batch or len(planes), *planes[0].shape), planes[0].dtype)
        for index, plane in enumerate(planes):
            blob[index] = plane
        return blob, geometries

    def infer(self, blob: np.ndarray) -> Dict[str, np.ndarray]:
        """Run the network on a prepared batch.

        Args:
            blob (ndarray): (B, 3, H, W), from ``preprocess``.

        Returns:
            dict[str, ndarray]: The file's outputs by name.
        """
        return self.session.run({self._input.name: blob})

    def postprocess(self, outputs: Dict[str, np.ndarray],
                    geometries: Sequence[Geometry]) -> List[RuntimeResult]:
        """Turn the network's outputs into results in image coordinates.

        Args:
            outputs (dict[str, ndarray]): From ``infer``.
            geometries (Sequence[Geometry]): From ``preprocess``; empty images at the end
                of the batch have none.

        Returns:
            list[RuntimeResult]: One for each geometry.

        Raises:
            ValueError: The network's numbers are none (NaN).
        """
        for name, values in outputs.items():
            if values.dtype.kind == 'f' and values.size and np.isnan(values.max()):
                raise ValueError(f'{self.session.path} gives {name} that are not numbers (NaN): '
                                 'its weights are damaged, or half precision does not suffice; '
                                 'export a sound checkpoint.')
        outputs, form = standard_outputs(outputs, self.metadata)
        return [self._result(self._select(outputs, form, index, geometry), geometry)
                for index, geometry in enumerate(geometries)]

    def _select(self, outputs: Dict[str, np.ndarray], form: str, index: int,
                geometry: Geometry) -> Selected:
        """Return boxes, scores, labels, key points (x, y, score) of one image."""
        rules = self.metadata.postprocess
        keypoints = None
        if form == 'onnx':
            dets = outputs['dets'][index]
            count = int(np.count_nonzero(dets[:, 4] > 0))
            boxes, scores = dets[:count, :4], dets[:count, 4]
            if 'keypoints' in outputs:
                keypoints = outputs['keypoints'][index, :count]
                labels = np.zeros(count, np.int64)
            else:
                labels = outputs['labels'][index, :count].astype(np.int64)
        elif form == 'efficient_nms':
            count = int(outputs['num_dets'][index].item())
            boxes, scores = outputs['boxes'][index, :count], outputs['scores'][index, :count]
            labels = outputs['labels'][index, :count].astype(np.int64)
            order = np.argsort(-scores, kind='stable')
            boxes, scores, labels = boxes[order], scores[order], labels[order]
        else:
            boxes, scores, labels, prior = suppress(
                outputs['boxes'][index], outputs['scores'][index], rules, geometry.input_size,
                self.score_threshold)
            if 'keypoints' in outputs:
                keypoints = np.concatenate([outputs['keypoints'][index, prior],
                                            outputs['keypoint_scores'][index, prior, :, None]], -1)
        return boxes, scores, labels, keypoints

    def _result(self, found: Selected, geometry: Geometry) -> RuntimeResult:
        boxes, scores, labels, keypoints = found
        meta = self.metadata
        boxes = geometry.to_image(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        if meta.postprocess.clip:
            width, height = geometry.image_size
            boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
        sound = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # nothing beside the image
        boxes, scores, labels = boxes[sound], scores[sound], labels[sound]
        result = RuntimeResult(boxes, scores.astype(np.float32), labels, meta.class_names,
                               geometry.image_size, skeleton=meta.skeleton)
        if keypoints is not None:
            keypoints = keypoints[sound]
            result.keypoints = geometry.to_image(keypoints[..., :2])
            result.keypoint_scores = keypoints[..., 2].astype(np.float32)
        if self.score_threshold is not None:
            result = result.above(self.score_threshold)
        return result

    def close(self) -> None:
        """Release the model."""
        self.session.close()

    def __enter__(self) -> 'Runtime':
        return self

    def __exit__(self, *_) -> None:
        self.close()
