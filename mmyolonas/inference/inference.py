"""Detection and pose on images in memory, for scripts, demos and notebooks."""
import copy
import logging
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from mmyolonas.inference.prediction import Prediction
from mmyolonas.utils.building import load_model, set_scope, switch_to_deploy
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.visualization import draw_boxes, draw_poses, make_palette


@dataclass
class InferenceOptions:
    """How candidates become results.

    Args:
        score_thr: Smallest score. Defaults to 0.25.
        iou_thr: Boxes of a class that overlap more are suppressed; None for the
            config's.
        max_per_img: Most detections of an image; None for the config's.
        classes: Names or numbers of the classes to keep; None for all.
        class_agnostic: Whether boxes of different classes suppress each other.
            Defaults to False.
    """
    score_thr: float = 0.25
    iou_thr: Optional[float] = None
    max_per_img: Optional[int] = None
    classes: Optional[Sequence[Union[str, int]]] = None
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        for name in ('score_thr', 'iou_thr'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:  # NaN is neither
                raise UserError(f'{name} must be a number from 0 to 1, got {value}.')
        if self.max_per_img is not None and self.max_per_img < 1:
            raise UserError(f'max_per_img must be at least 1, got {self.max_per_img}.')


class Predictor:
    """A model with its pre-processing; call it with images.

    Example:
        >>> predictor = Predictor('configs/yolonas/yolonas_s_coco.py', 'yolonas_s.pth')
        >>> prediction, = predictor([cv2.imread('street.jpg')])
        >>> cv2.imwrite('drawn.jpg', predictor.draw(image, prediction))

    Args:
        config (str | Config): Config of a detector or a pose estimator.
        checkpoint (str): Its checkpoint.
        options (InferenceOptions, optional): Thresholds and classes.
        device (str, optional): Defaults to the GPU if there is one.
        fuse (bool): Whether to re-parameterise the model. Defaults to True.
        cfg_options (dict, optional): Settings of the config to override.

    Raises:
        UserError: A file is missing, the checkpoint is of another model, or a
            class is unknown.
    """

    def __init__(self,
                 config: Union[str, Config],
                 checkpoint: str,
                 options: Optional[InferenceOptions] = None,
                 device: Optional[str] = None,
                 fuse: bool = True,
                 cfg_options: Optional[dict] = None) -> None:
        self.options = options or InferenceOptions()
        cfg = load_config(config, cfg_options) if isinstance(config, str) else config
        self.cfg = copy.deepcopy(cfg)
        self.is_pose = 'head' in self.cfg.model  # detectors have a bbox_head or a roi_head
        _apply_options(self.cfg.model.setdefault('test_cfg', {}), self.options, self.is_pose)
        self.device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.model, meta = load_model(self.cfg, checkpoint)
        if fuse:
            switch_to_deploy(self.model)
        self.model.eval().to(self.device)
        _warn_of_preprocessing(self.cfg, meta)
        self.meta = self._dataset_meta(meta)
        self.classes: Tuple[str, ...] = tuple(self.meta.get('classes') or ())
        self.labels = _class_numbers(self.options.classes, self.classes)
        self.palette = make_palette(max(1, len(self.classes)))
        set_scope(self.cfg)
        self.pipeline = Compose(_array_pipeline(self.cfg.test_dataloader.dataset))

    def __call__(self, images: Sequence[np.ndarray]) -> List[Prediction]:
        """Return what is found in each image.

        Args:
            images (Sequence[ndarray]): (H, W, 3) BGR, uint8, of any sizes.
        """
        set_scope(self.cfg)
        extra = self.meta if self.is_pose else {}
        samples = [
            self.pipeline({**extra, 'img': image, 'img_id': index, 'id': index})
            for index, image in enumerate(images)
        ]
        with torch.no_grad():
            results = self.model.test_step(pseudo_collate(samples))
        return [self._to_prediction(result.pred_instances) for result in results]

    def _to_prediction(self, instances) -> Prediction:
        values = {key: value.cpu().numpy() if isinstance(value, torch.Tensor) else value
                  for key, value in instances.items()}
        scores = values['bbox_scores' if self.is_pose else 'scores']
        labels = values.get('labels')
        prediction = Prediction(
            boxes=np.asarray(values['bboxes'], np.float32).reshape(-1, 4),
            scores=np.asarray(scores, np.float32),
            labels=np.zeros(len(scores), np.int64) if labels is None else labels,
            keypoints=values.get('keypoints'),
            keypoint_scores=values.get('keypoint_scores'))
        order = np.argsort(-prediction.scores, kind='stable')
        order = order[prediction.scores[order] >= self.options.score_thr]
        return prediction.select(order).of_classes(self.labels)

    def draw(self, image: np.ndarray, prediction: Prediction,
             keypoint_thr: float = 0.3) -> np.ndarray:
        """Return a copy of an image with its detections.

        Args:
            image (ndarray): (H, W, 3) BGR, uint8.
            prediction (Prediction): What was found in it.
            keypoint_thr (float): Smallest score of a key point. Defaults to 0.3.

        Returns:
            ndarray: (H, W, 3) BGR, uint8.
        """
        image = image.copy()
        draw_boxes(image, prediction.boxes, prediction.labels, prediction.scores, self.classes,
                   self.palette)
        if prediction.keypoints is not None and len(prediction):
            draw_poses(image, prediction.keypoints, prediction.keypoint_scores >= keypoint_thr,
                       self.meta.get('skeleton_links') or (),
                       _bgr(self.meta.get('keypoint_colors')),
                       _bgr(self.meta.get('skeleton_link_colors')))
        return image

    def _dataset_meta(self, meta: dict) -> Dict[str, Any]:
        """Return class names or the skeleton: the checkpoint's, the config's, COCO's."""
        stored = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
        if self.is_pose:
            from mmpose.datasets.datasets.utils import parse_pose_metainfo
            set_scope(self.cfg)
            if 'skeleton_links' in stored:
                return stored
            from_config = _config_metainfo(self.cfg)
            parsed = parse_pose_metainfo(from_config) if from_config else _pose_default(self.cfg)
            return {'classes': ('person', ), **parsed}
        names = stored.get('classes') or (_config_metainfo(self.cfg) or {}).get('classes')
        if not names and _num_classes(self.cfg.model) == 80:
            from mmdet.datasets import CocoDataset
            names = CocoDataset.METAINFO['classes']
        names = [names] if isinstance(names, str) else list(names or ())
        return dict(stored, classes=names)


def _apply_options(test_cfg: dict, options: InferenceOptions, is_pose: bool) -> None:
    """Write thresholds into a config's ``test_cfg``."""
    test_cfg = test_cfg.get('rcnn', test_cfg)  # two-stage detectors
    test_cfg['score_thr'] = options.score_thr
    if options.max_per_img is not None:
        test_cfg['max_per_img'] = options.max_per_img
    if is_pose:
        if options.iou_thr is not None:
            test_cfg['nms_thr'] = options.iou_thr
        return
    nms = test_cfg.setdefault('nms', dict(type='nms', iou_threshold=0.7))
    if options.iou_thr is not None:
        nms['iou_threshold'] = options.iou_thr
    if options.class_agnostic:
        nms['class_agnostic'] = True


def _num_classes(model: dict) -> Optional[int]:
    """Return the number of classes of a detector's config, of one or two stages."""
    head = model.get('bbox_head') or model.get('roi_head', {}).get('bbox_head') or {}
    return (head[0] if isinstance(head, (list, tuple)) else head).get('num_classes')


def _warn_of_preprocessing(cfg: Config, meta: dict) -> None:
    """Say if the checkpoint was trained with another channel order."""
    wanted = (meta.get('preprocessing') or {}).get('bgr_to_rgb')
    actual = cfg.model.get('data_preprocessor', {}).get('bgr_to_rgb', False)
    if wanted is not None and wanted != actual:
        print_log(
            f'the checkpoint was trained with data_preprocessor.bgr_to_rgb={wanted}, the config '
            f'says {actual}: results will be poor. Use --cfg-options '
            f'model.data_preprocessor.bgr_to_rgb={wanted}',
            logger='current', level=logging.WARNING)


def _array_pipeline(dataset: dict) -> List[dict]:
    """Return the test pipeline with arrays for files and without annotations."""
    while 'pipeline' not in dataset and ('dataset' in dataset or dataset.get('datasets')):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    steps = []
    for step in copy.deepcopy(dataset['pipeline']):
        name = step['type'].rsplit('.', 1)[-1]
        if name == 'LoadImageFromFile':
            steps.append(dict(type='mmdet.LoadImageFromNDArray'))
        elif name != 'LoadAnnotations':
            steps.append(step)
    return steps


def _config_metainfo(cfg: Config) -> Optional[dict]:
    """Return the metainfo of the first data set in a config that has one."""
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset')
        while isinstance(dataset, dict):
            if dataset.get('metainfo'):
                return dict(dataset['metainfo'])
            inner = dataset.get('datasets') or [None]
            dataset = dataset.get('dataset') or inner[0]
    return None


def _pose_default(cfg: Config) -> dict:
    """Return the metainfo of the config's data set class (COCO's key points)."""
    from mmengine.registry import DATASETS
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    kind = DATASETS.get(cfg.test_dataloader.dataset.type)
    return parse_pose_metainfo(dict(kind.METAINFO))


def _class_numbers(wanted: Optional[Sequence[Union[str, int]]],
                   classes: Sequence[str]) -> Optional[List[int]]:
    """Return class numbers of names or numbers.

    Raises:
        UserError: A name is unknown.
    """
    if wanted is None:
        return None
    numbers = []
    for item in wanted:
        if item in classes:
            numbers.append(list(classes).index(item))
        elif str(item).isdigit() and (not classes or int(item) < len(classes)):
            numbers.append(int(item))
        else:
            raise UserError(f'unknown class {item!r}; the model has '
                            f'{", ".join(classes) or "no class names, give numbers"}.')
    return numbers


def _bgr(colours) -> Optional[list]:
    """Return mmpose's RGB colours as BGR tuples."""
    return None if colours is None else [tuple(int(c) for c in row[::-1]) for row in colours]
