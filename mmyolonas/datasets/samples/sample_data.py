"""Generated data sets in COCO format: something to train on without a download.

The pictures are drawn from a seed, so they are the same on every machine with
the same OpenCV, need no licence and take seconds to make.
"""
import argparse
import glob
import json
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
                               workers: int = 1,
                               kind: str = 'shapes') -> Dict[str, str]:
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmyolonas.datasets.samples.sample_figures import KEYPOINT_NAMES, SKELETON, figures_image
from mmyolonas.datasets.samples.sample_shapes import SHAPE_CLASSES, SHAPE_KINDS, shapes_image
from mmyolonas.datasets.samples.sample_textures import texture_bank
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import is_full_disk, read_json, write_image, write_json, write_text
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.progress import track

_VERSION = 1
_DESCRIPTION = 'sample.json'


def generate_detection_samples(out_dir: str,
                               num_train: int = 400,
                               num_val: int = 100,
                               size: int = 320,
                               seed: int = 0,
                               workers: int = 1) -> Dict[str, str]:
                               kind: str = 'shapes') -> Dict[str, str]:
    """Write images of textured shapes with boxes of five classes.

    The folder gets ``train/`` and ``val/`` with JPEG images and
    ``annotations/instances_train.json`` and ``instances_val.json`` in COCO
    format; boxes enclose the visible part of a shape. It appears complete or
    not at all, and one made with the same arguments is left as it is.

    Args:
        out_dir (str): Folder to make.
        num_train (int): Number of training images. Defaults to 400.
        num_val (int): Number of held-out images. Defaults to 100.
        size (int): Side length of the images in pixels. Defaults to 320.
        seed (int): Images depend on it and their number. Defaults to 0.
    task = 'detection' if kind == 'shapes' else f'detection, {kind}'
    draw = shapes_image if kind == 'shapes' else partial(shapes_image, kind=SHAPE_KINDS[kind])
    return _generate(out_dir, task, 'instances', (num_train, num_val), size, seed, draw, annotate,
                     categories, workers)

    Returns:
        dict[str, str]: Paths of the annotation files under 'train', 'val'.

    Raises:
        FileExistsError: If the folder exists and holds something else.
    """
    categories = [dict(id=i, name=name, supercategory='shape')
                  for i, name in enumerate(SHAPE_CLASSES, 1)]

    def annotate(obj) -> dict:
        return dict(category_id=obj.label + 1, bbox=obj.bbox, area=obj.area)

