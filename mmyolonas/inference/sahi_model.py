"""Back end of SAHI: ``AutoDetectionModel.from_pretrained('mmyolonas', ...)``.

``import mmyolonas`` makes the type known to SAHI. An exported file needs no config::

    import mmyolonas
    from sahi import AutoDetectionModel
    model = AutoDetectionModel.from_pretrained('mmyolonas', 'end2end.onnx')
    model = AutoDetectionModel.from_pretrained('mmyolonas', 'epoch_8.pth', config_path='x.py')
"""
from dataclasses import replace
from typing import Any, List, Optional, Sequence

import numpy as np
from sahi.models.base import DetectionModel
from sahi.prediction import ObjectPrediction

from mmyolonas.utils.errors import UserError

EXPORTED = ('.onnx', '.xml', '.engine', '.plan')


class MMYOLONASDetectionModel(DetectionModel):
    """An exported file in :class:`mmyolonas.apis.Runtime`, or a checkpoint with its config.

    The arguments are those of SAHI's base class; ``model`` takes a ``Runtime`` or a
    ``Predictor`` that is loaded already.
    """
    required_packages: List[str] = []

    def load_model(self) -> None:
        """Load ``model_path``, with ``config_path`` if it is a checkpoint.

        Raises:
            UserError: No file is given, or a checkpoint without its config.
        """
        path = str(self.model_path or '')
        if path.lower().endswith(EXPORTED):
            from mmyolonas.runtime.runtime import Runtime
            device = str(self.device)
            self.set_model(Runtime(path, device='cuda' if 'cuda' in device else 'cpu'))
            return
        if not path or not self.config_path:
            raise UserError(f'model_path is a checkpoint with config_path, or a file that ends in '
                            f'{", ".join(EXPORTED)}; got {path!r} and {self.config_path!r}.')
        from mmyolonas.inference.inference import InferenceOptions, Predictor
        self.set_model(Predictor(
            str(self.config_path), path, InferenceOptions(score_thr=self.confidence_threshold),
            str(self.device)))

    def set_model(self, model: Any, **kwargs: Any) -> None:
        """Take a loaded model.

        Args:
            model (Runtime | Predictor): It.
            **kwargs: Not used.
        """
        self.model = model
        metadata = getattr(model, 'metadata', None)
        names = list(metadata.class_names if metadata is not None else model.classes)
        if not self.category_mapping:
            self.category_mapping = {str(index): name for index, name in enumerate(names)}

    def perform_inference(self, image: np.ndarray, image_size: Optional[int] = None) -> None:
        """Detect in one image.

        Args:
            image (ndarray): (H, W, 3) RGB, uint8.
            image_size (int, optional): Not used; the size is the model's.
        """
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: Sequence[np.ndarray]) -> None:
        """Detect in several images at a time.

        Args:
            images (Sequence[ndarray]): (H, W, 3) RGB, uint8.
        """
        bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        self._original_predictions = self.model(bgr)
        self._batch_images = None

    def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Optional[list] = None,
            full_shape_list: Optional[list] = None) -> None:
        """Turn the results into SAHI's objects; one shift and one full shape per image."""
        found = self._original_predictions
        shifts = _per_image(shift_amount_list, len(found)) or [[0, 0]] * len(found)
        shapes = _per_image(full_shape_list, len(found)) or [None] * len(found)
        self._object_prediction_list_per_image = [
            self._objects(result, shift, shape)
            for result, shift, shape in zip(found, shifts, shapes)]

    def _objects(self, result: Any, shift: list, shape: Optional[list]) -> List[ObjectPrediction]:
        """Return the objects of an image, clipped to its slice."""
        objects = []
        for box, score, label in zip(result.boxes, result.scores, result.labels):
            corners = np.maximum(box, 0)
            if score <= self.confidence_threshold or (corners[2:] <= corners[:2]).any():
                continue
            objects.append(ObjectPrediction(
                bbox=[float(value) for value in corners], category_id=int(label),
                score=float(score), category_name=self.category_mapping[str(int(label))],
                shift_amount=list(shift), full_shape=None if shape is None else list(shape)))
        return objects

    @property
    def category_names(self) -> List[str]:
        """list[str]: Names in label order."""
        return list(self.category_mapping.values())

    @property
    def num_categories(self) -> int:
        """int: Number of classes."""
        return len(self.category_mapping)

    @property
    def has_mask(self) -> bool:
        """bool: There are none."""
        return False


def _per_image(values: Optional[list], count: int) -> Optional[list]:
    """Return one entry for each image; SAHI gives a single one in two forms."""
    if not values:
        return None
    if not isinstance(values[0], (list, tuple)):
        values = [values]
    return list(values) if len(values) == count else [values[0]] * count


class Slicer:
    """Prediction in overlapping parts of an image, merged by SAHI.

    Args:
        predictor (Predictor): Model; its score threshold holds.
        size (int): Side of a part in pixels.
        overlap (float): Share of a side that neighbours share. Defaults to 0.2.
        batch_size (int): Parts at a time. Defaults to 1.
    """

    def __init__(self, predictor: Any, size: int, overlap: float = 0.2,
                 batch_size: int = 1) -> None:
        self.predictor, self.size, self.overlap = predictor, size, overlap
        self.batch_size = batch_size
        self.model = MMYOLONASDetectionModel(
            model=predictor, confidence_threshold=predictor.options.score_thr,
            device=predictor.device)

    def __call__(self, images: Sequence[np.ndarray]) -> List[Any]:
        """Return what is found in each image.

        Args:
            images (Sequence[ndarray]): (H, W, 3) BGR, uint8.

        Returns:
            list[Prediction]: Best first; without key points.
        """
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray) -> Any:
        from sahi.predict import get_sliced_prediction

        from mmyolonas.inference.prediction import Prediction
        found = get_sliced_prediction(
            np.ascontiguousarray(image[..., ::-1]), self.model, self.size, self.size,
            self.overlap, self.overlap, verbose=0,
            postprocess_class_agnostic=self.predictor.options.class_agnostic,
            batch_size=self.batch_size).object_prediction_list
        result = Prediction(
            np.array([item.bbox.to_xyxy() for item in found], np.float32).reshape(-1, 4),
            np.array([item.score.value for item in found], np.float32),
            np.array([item.category.id for item in found], np.int64))
        return replace(result).select(np.argsort(-result.scores, kind='stable'))
