"""The training pipelines that data_pipeline.py compares; runs inside the workers.

All of them read the same COCO-format folder and do what the published recipe of the models does
(reference.md 10.1: affine with scale 0.5..1.5 and translation 0.25, random channel order,
HSV 18/30/30, mirroring and mixup, each with probability 0.5, fitted into a square), each with its
own code.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Sequence

import torch
from torch import Tensor

from benchmarks.common import ROOT, stand_in


@dataclass
class Source:
    """Which images are read.

    Attributes:
        folder (str): Folder of the images and of ``_annotations.coco.json``.
        classes (tuple[str]): Names of the classes that have boxes.
        size (int): Side of the images that leave the pipeline.
    """
    folder: str
    classes: Sequence[str]
    size: int

    @property
    def annotations(self) -> Path:
        """Path: The annotation file."""
        return Path(self.folder) / '_annotations.coco.json'


class MMYolonas:
    """This package: the pipeline of configs/yolonas/yolonas_s_coco.py."""

    def __init__(self, source: Source) -> None:
        from mmdet.utils import register_all_modules
        from mmengine.config import Config
        from mmengine.registry import FUNCTIONS, DefaultScope

        import mmyolonas  # noqa: F401, applies the repairs first
        from mmyolonas.registry import DATASETS, MODELS
        register_all_modules(init_default_scope=False)
        DefaultScope.get_instance('benchmark', scope_name='mmdet')
        cfg = Config.fromfile(ROOT / 'configs/yolonas/yolonas_s_coco.py')
        self.dataset = DATASETS.build(
            dict(cfg.train_dataloader.dataset, data_root=source.folder,
                 ann_file=source.annotations.name, data_prefix=dict(img=''),
                 metainfo=dict(classes=source.classes)))
        self.collate = FUNCTIONS.get('pseudo_collate')
        self.preprocessor = MODELS.build(cfg.model.data_preprocessor)

    def load(self, indices: List[int]) -> Any:
        """Return what a worker of the data loader hands over."""
        return self.collate([self.dataset[index] for index in indices])

    def to_input(self, batch: Any) -> Tensor:
        """Return the network's input."""
        return self.preprocessor(batch, training=True)['inputs']


class ModernYolonas:
    """modern-yolonas: its COCO recipe without the mosaic that the published one lacks."""

    def __init__(self, source: Source) -> None:
        from modern_yolonas.data.coco import COCODetectionDataset
        from modern_yolonas.data.collate import detection_collate_fn
        from modern_yolonas.training.recipes import COCO_RECIPE
        from modern_yolonas.training.run import build_transforms
        recipe = dict(COCO_RECIPE, input_size=source.size,
                      augmentations=dict(COCO_RECIPE['augmentations'], mosaic=False))
        self.dataset = COCODetectionDataset(source.folder, source.annotations,
                                            input_size=source.size)
        self.dataset.transforms = build_transforms(recipe, train=True, dataset=self.dataset)
        self.collate = detection_collate_fn

    def load(self, indices: List[int]) -> Any:
        """Return what a worker of the data loader hands over: the batch is complete."""
        return self.collate([self.dataset[index] for index in indices])

    def to_input(self, batch: Any) -> Tensor:
        """Return the network's input."""
        return batch[0]


class SuperGradients:
    """SuperGradients 3.7.1: the transforms of its coco_detection_yolo_nas data set."""

    def __init__(self, source: Source) -> None:
        stand_in('onnxsim', 'data_gradients')  # of its export and data analysis
        import json

        from super_gradients.training.datasets.detection_datasets.coco_format_detection import (
            COCOFormatDetectionDataset,
        )
        from super_gradients.training.transforms import transforms as t
        from super_gradients.training.utils.collate_fn import DetectionCollateFN
        size = (source.size, source.size)
        names = [item['name'] for item in json.loads(source.annotations.read_text())['categories']]
        self.dataset = COCOFormatDetectionDataset(
            data_dir=source.folder,
            json_annotation_file=source.annotations.name,
            images_dir='',
            with_crowd=False,
            input_dim=size,
            all_classes_list=names,
            transforms=[
                t.DetectionRandomAffine(
                    degrees=0, translate=0.25, scales=(0.5, 1.5), shear=0, target_size=None,
                    filter_box_candidates=True, wh_thr=2, area_thr=0.1, ar_thr=20),
                t.DetectionRGB2BGR(prob=0.5),
                t.DetectionHSV(prob=0.5, hgain=18, sgain=30, vgain=30),
                t.DetectionHorizontalFlip(prob=0.5),
                t.DetectionMixup(input_dim=None, mixup_scale=(0.5, 1.5), prob=0.5, flip_prob=0.5),
                t.DetectionPaddedRescale(input_dim=size, pad_value=114),
                t.DetectionStandardize(max_value=255),
                t.DetectionTargetsFormatTransform(output_format='LABEL_CXCYWH'),
            ])
        self.collate = DetectionCollateFN()

    def load(self, indices: List[int]) -> Any:
        """Return what a worker of the data loader hands over: the batch is complete."""
        return self.collate([self.dataset[index] for index in indices])

    def to_input(self, batch: Any) -> Tensor:
        """Return the network's input."""
        return torch.as_tensor(batch[0])


LOADERS = {
    'mmyolonas': MMYolonas,
    'modern-yolonas': ModernYolonas,
    'super-gradients': SuperGradients,
}
