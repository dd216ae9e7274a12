"""Blending of two images."""
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmcv.transforms.utils import cache_randomness

from mmyolonas.registry import TRANSFORMS

from .functional import boxes_like, boxes_to_numpy, clip_boxes, filled, fit_size, paste_resized

_INSTANCE_KEYS = ('gt_bboxes_labels', 'gt_ignore_flags')


@TRANSFORMS.register_module()
class YOLONASMixUp(BaseTransform):
    """Augment an image, then blend it half and half with another, raw one.

    The partner is drawn from the images this worker loaded last, *before*
    ``transforms`` changed them. It is mirrored with probability
    ``flip_prob``, fitted into the top left of the augmented image's canvas
    (grey beside it), scaled by ``U(ratio_range)``, and cropped at random or
    padded with black to the canvas; the result is
    ``floor(0.5 * a + 0.5 * b)``. The boxes of both are kept, the partner's
    clipped (reference.md 10.1, step 6).

    It differs from mmdet's ``CachedMixUp`` in the raw partner (the published
    recipe does not augment it), in working on any canvas size, in filtering
    slivers of the partner's boxes, and in time (no float images).

    Required Keys:

    - img (uint8)
    - gt_bboxes (HorizontalBoxes or ndarray, xyxy pixels)
    - gt_bboxes_labels (np.int64)
    - gt_ignore_flags (bool)

    Modified Keys:

    - img
    - gt_bboxes
    - gt_bboxes_labels
    - gt_ignore_flags
    - whatever ``transforms`` modify

    Args:
        transforms (list[dict]): Transforms of the image itself. An image of
            the cache is shared, so they must not write into it: begin with
            one that makes a new array, as all of this package do.
            Defaults to None.
        prob (float): Probability of blending. Defaults to 0.5.
        ratio_range (tuple[float, float]): Scale of the partner.
            Defaults to (0.5, 1.5).
        flip_prob (float): Probability of mirroring the partner.
            Defaults to 0.5.
        pad_val (int): Grey value beside the fitted partner. Defaults to 114.
        min_bbox_size (float): The partner's boxes must be wider and higher
            than this many pixels after clipping. Defaults to 1.
        max_cached_images (int): Length of the cache (per worker); the memory
            is this times the size of an image. Defaults to 40.
    """

    def __init__(self,
                 transforms: Optional[Sequence[dict]] = None,
                 prob: float = 0.5,
                 ratio_range: Tuple[float, float] = (0.5, 1.5),
                 flip_prob: float = 0.5,
                 pad_val: int = 114,
                 min_bbox_size: float = 1.,
                 max_cached_images: int = 40) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must lie in [0, 1], got {prob}')
        if max_cached_images < 2:
            raise ValueError(f'max_cached_images must be at least 2, got {max_cached_images}')
        self.transforms = Compose(list(transforms or []))
        self.prob = prob
        self.ratio_range = tuple(ratio_range)
        self.flip_prob = flip_prob
        self.pad_val = pad_val
        self.min_bbox_size = min_bbox_size
        self.max_cached_images = max_cached_images
        # The name mmdet gives it; EpochSeedHook empties the caches of that name.
        self.results_cache: List[Dict] = []

    @cache_randomness
    def _random_partner(self) -> Optional[Dict]:
        if len(self.results_cache) < 2 or np.random.rand() >= self.prob:
            return None
        # The newest entry is the image itself.
        return self.results_cache[np.random.randint(len(self.results_cache) - 1)]

    @cache_randomness
    def _random_geometry(self) -> Tuple[float, bool, float, float]:
        scale = float(np.random.uniform(*self.ratio_range))
        flip = bool(np.random.rand() < self.flip_prob)
        crop_x, crop_y = np.random.rand(2)
        return scale, flip, crop_x, crop_y

    def transform(self, results: Dict) -> Optional[Dict]:
        """Augment and blend ``results['img']``.

        Args:
            results (dict): The result dictionary of a freshly loaded image.

        Returns:
            dict | None: The updated dictionary; None if ``transforms`` gave
            none (the data set then takes another image).
        """
        self._remember(results)
        partner = self._random_partner()
        results = self.transforms(results)
        if results is None or partner is None:
            return results
        height, width = results['img'].shape[:2]
        overlay, boxes, keep = self._place(partner, height, width)
        # -0.25 turns rounding to even into rounding down, as integer arithmetic does.
        results['img'] = cv2.addWeighted(results['img'], 0.5, overlay, 0.5, -0.25)
        both = np.concatenate([boxes_to_numpy(results), boxes[keep]])
        results['gt_bboxes'] = boxes_like(both, results['gt_bboxes'])
        for key in _INSTANCE_KEYS:
            results[key] = np.concatenate([results[key], partner[key][keep]])
        return results

    def _remember(self, results: Dict) -> None:
        entry = {key: results[key] for key in ('img', *_INSTANCE_KEYS)}
        entry['gt_bboxes'] = boxes_to_numpy(results).copy()
        if len(self.results_cache) >= self.max_cached_images:
            self.results_cache.pop(np.random.randint(len(self.results_cache)))
        self.results_cache.append(entry)

    def _place(self, partner: Dict, height: int,
               width: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the partner on a canvas, its boxes there and which of them to keep."""
        scale, flip, crop_x, crop_y = self._random_geometry()
        img = partner['img']
        fit_h, fit_w, _ = fit_size(*img.shape[:2], (width, height))
        box_h, box_w = max(int(height * scale), 1), max(int(width * scale), 1)
        new_h, new_w = max(round(fit_h * scale), 1), max(round(fit_w * scale), 1)
        x = -int(crop_x * (max(box_w - width, 0) + 1))
        y = -int(crop_y * (max(box_h - height, 0) + 1))
        canvas = filled(height, width, 0)
        canvas[max(y, 0):y + box_h, max(x, 0):x + box_w] = self.pad_val
        paste_resized(img, (new_w, new_h), (x, y), canvas, flip)
        factor = np.array([new_w / img.shape[1], new_h / img.shape[0]] * 2, dtype=np.float32)
        boxes = partner['gt_bboxes'] * factor
        if flip:
            boxes = np.stack(
                [new_w - boxes[:, 2], boxes[:, 1], new_w - boxes[:, 0], boxes[:, 3]], axis=1)
        boxes = boxes + np.array([x, y, x, y], dtype=np.float32)
        boxes = clip_boxes(boxes, height, width)
        keep = ((boxes[:, 2:] - boxes[:, :2]) > self.min_bbox_size).all(1)
        return canvas, boxes, keep

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(transforms={self.transforms}, prob={self.prob}, '
                f'ratio_range={self.ratio_range}, flip_prob={self.flip_prob}, '
                f'pad_val={self.pad_val}, min_bbox_size={self.min_bbox_size}, '
                f'max_cached_images={self.max_cached_images})')
