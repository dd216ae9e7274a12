"""Resizing and random affine transform in one step."""
import math
from typing import Dict, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS

from .functional import (
    affine_boxes,
    box_candidates,
    boxes_like,
    boxes_to_numpy,
    clip_boxes,
    filled,
    fit_size,
    paste_resized,
    select_instances,
)


class AffineParams(NamedTuple):
    """One draw: scale, centre as a share of the canvas, angles in degrees, mirroring."""
    scale: float
    center: Tuple[float, float]
    angle: float
    shear: Tuple[float, float]
    flip: bool


@TRANSFORMS.register_module()
class YOLONASRandomAffine(BaseTransform):
    """Fit an image into ``img_scale``, then scale, shift (rotate, shear) it at random.

    The canvas has the size of the fitted image, not of ``img_scale``: pad
    afterwards. The image's centre goes to ``U(0.5 - t, 0.5 + t)`` of the
    canvas, and boxes are clipped to it and dropped if too small, too thin or
    too little of them is left (reference.md 10.1, steps 1 and 2).

    Fitting and transform are one interpolation, straight from the loaded
    image. Without rotation and shear (the published recipe) it is a resize
    and a paste, where the image's size and place are rounded to whole pixels
    and the boxes follow the rounded values exactly; otherwise one
    ``cv2.warpAffine`` that maps pixel centres to pixel centres.

    It differs from SuperGradients on purpose: there, boxes are clipped with
    width and height exchanged, which loses objects on non-square images, and
    the picture is interpolated twice, half a pixel off. As there, the area
    ratio compares with the box *before* scaling, so at scale 0.5 a box
    survives only if more than 40% of it is visible.

    mmdet's ``RandomAffine`` has neither the centre's range nor the candidate
    filter and keeps slivers at the border.

    Required Keys:

    - img (uint8)
    - gt_bboxes (HorizontalBoxes or ndarray, xyxy pixels) (optional)
    - gt_bboxes_labels (np.int64) (optional)
    - gt_ignore_flags (bool) (optional)

    Modified Keys:

    - img
    - img_shape
    - gt_bboxes
    - gt_bboxes_labels
    - gt_ignore_flags

    Args:
        img_scale (tuple[int, int], optional): Width and height to fit the
            image into first; None leaves its size. Defaults to (640, 640).
        max_translate_ratio (float): ``t`` above. Defaults to 0.25.
        scaling_ratio_range (tuple[float, float]): Range of the scale factor.
            Defaults to (0.5, 1.5).
        max_rotate_degree (float): Largest angle. Defaults to 0.
        max_shear_degree (float): Largest shear along each axis. Defaults to 0.
        flip_prob (float): Probability of mirroring the canvas afterwards,
            which saves a pass over the image when compared with a
            ``RandomFlip``. Defaults to 0.
        border_val (int): Grey value outside the image. Defaults to 114.
        min_bbox_size (float): Boxes must be wider and higher than this many
            pixels afterwards. Defaults to 2.
        min_area_ratio (float): Area afterwards (clipped) to area before must
            be larger than this. Defaults to 0.1.
        max_aspect_ratio (float): Longer to shorter side must be smaller than
            this. Defaults to 20.
    """

    def __init__(self,
                 img_scale: Optional[Tuple[int, int]] = (640, 640),
                 max_translate_ratio: float = 0.25,
                 scaling_ratio_range: Tuple[float, float] = (0.5, 1.5),
                 max_rotate_degree: float = 0.,
                 max_shear_degree: float = 0.,
                 flip_prob: float = 0.,
                 border_val: int = 114,
                 min_bbox_size: float = 2.,
                 min_area_ratio: float = 0.1,
                 max_aspect_ratio: float = 20.) -> None:
        if not 0 < scaling_ratio_range[0] <= scaling_ratio_range[1]:
            raise ValueError('scaling_ratio_range must be (low, high) with 0 < low <= high, '
                             f'got {scaling_ratio_range}')
        self.img_scale = tuple(img_scale) if img_scale is not None else None
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = tuple(scaling_ratio_range)
        self.max_rotate_degree = max_rotate_degree
        self.max_shear_degree = max_shear_degree
        self.flip_prob = flip_prob
        self.border_val = border_val
        self.min_bbox_size = min_bbox_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio

    @cache_randomness
    def _random_params(self) -> AffineParams:
        shift = self.max_translate_ratio
        angle, shear = self.max_rotate_degree, self.max_shear_degree
        draws = np.random.uniform(-1, 1, 5)
        return AffineParams(
            scale=float(np.random.uniform(*self.scaling_ratio_range)),
            center=(0.5 + shift * draws[0], 0.5 + shift * draws[1]),
            angle=angle * draws[2],
            shear=(shear * draws[3], shear * draws[4]),
            flip=bool(np.random.rand() < self.flip_prob))

    def transform(self, results: Dict) -> Dict:
        """Transform ``results['img']`` and its boxes.

        Args:
            results (dict): The result dictionary.

        Returns:
            dict: The updated dictionary.
        """
        if 'gt_masks' in results:
            raise NotImplementedError('YOLONASRandomAffine transforms boxes only: '
                                      'load annotations without masks')
        img = results['img']
        height, width = img.shape[:2]
        ratio = 1.
        canvas_h, canvas_w = height, width
        if self.img_scale is not None:
            canvas_h, canvas_w, ratio = fit_size(height, width, self.img_scale)
        params = self._random_params()
        apply = self._warp if params.angle or any(params.shear) else self._resize_and_paste
        results['img'], matrix = apply(img, canvas_h, canvas_w, params)
        results['img_shape'] = (canvas_h, canvas_w)
        if results.get('gt_bboxes') is not None:
            before = boxes_to_numpy(results)
            after = clip_boxes(affine_boxes(before, matrix), canvas_h, canvas_w)
            keep = box_candidates(before * ratio, after, self.min_bbox_size,
                                  self.min_area_ratio, self.max_aspect_ratio)
            results['gt_bboxes'] = boxes_like(after[keep], results['gt_bboxes'])
            select_instances(results, keep)
        return results

    def _resize_and_paste(self, img: np.ndarray, canvas_h: int, canvas_w: int,
                          params: AffineParams) -> Tuple[np.ndarray, np.ndarray]:
        """Scale and shift; return the canvas and the realised source-to-canvas matrix."""
        new_w = max(round(canvas_w * params.scale), 1)
        new_h = max(round(canvas_h * params.scale), 1)
        x = round(params.center[0] * canvas_w - params.scale * (canvas_w // 2))
        y = round(params.center[1] * canvas_h - params.scale * (canvas_h // 2))
        if params.flip:
            x = canvas_w - x - new_w
        canvas = filled(canvas_h, canvas_w, self.border_val)
        paste_resized(img, (new_w, new_h), (x, y), canvas, params.flip)
        matrix = np.array([[new_w / img.shape[1], 0, x], [0, new_h / img.shape[0], y]])
        if params.flip:
            matrix[0] = -matrix[0, 0], 0, x + new_w
        return canvas, matrix

    def _warp(self, img: np.ndarray, canvas_h: int, canvas_w: int,
              params: AffineParams) -> Tuple[np.ndarray, np.ndarray]:
        """Scale, rotate, shear and shift; return the canvas and the matrix."""
        fit = np.diag([canvas_w / img.shape[1], canvas_h / img.shape[0], 1.])
        center = np.eye(3)
        center[:2, 2] = -(canvas_w // 2), -(canvas_h // 2)
        cos = params.scale * math.cos(math.radians(params.angle))
        sin = params.scale * math.sin(math.radians(params.angle))
        rotate = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        shear = np.eye(3)
        shear[0, 1], shear[1, 0] = (math.tan(math.radians(s)) for s in params.shear)
        shift = np.eye(3)
        shift[:2, 2] = params.center[0] * canvas_w, params.center[1] * canvas_h
        matrix = shift @ shear @ rotate @ center @ fit
        if params.flip:
            matrix = np.array([[-1, 0, canvas_w], [0, 1, 0], [0, 0, 1]]) @ matrix
        # OpenCV counts from pixel centres, boxes from pixel corners.
        half = np.eye(3)
        half[:2, 2] = 0.5
        pixel_matrix = np.linalg.inv(half) @ matrix @ half
        canvas = cv2.warpAffine(
            img, pixel_matrix[:2], (canvas_w, canvas_h), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(self.border_val, ) * 3)
        return canvas, matrix[:2]

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(img_scale={self.img_scale}, '
                f'max_translate_ratio={self.max_translate_ratio}, '
                f'scaling_ratio_range={self.scaling_ratio_range}, '
                f'max_rotate_degree={self.max_rotate_degree}, '
                f'max_shear_degree={self.max_shear_degree}, flip_prob={self.flip_prob}, '
                f'border_val={self.border_val}, min_bbox_size={self.min_bbox_size}, '
                f'min_area_ratio={self.min_area_ratio}, '
                f'max_aspect_ratio={self.max_aspect_ratio})')
