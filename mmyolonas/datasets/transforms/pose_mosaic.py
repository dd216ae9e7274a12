"""Two by two mosaic of images with poses."""
import copy
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from mmyolonas.registry import TRANSFORMS

from .pose_functional import INSTANCE_KEYS, scale_and_shift


@TRANSFORMS.register_module()
class PoseMosaic(BaseTransform):
    """Join the image with three others, whole and unscaled.

    The upper pair stands on the middle line, the lower pair hangs from it,
    the narrower row is centred. There is no random centre and no crop, so
    every joint keeps its visibility; :class:`PoseResizePad` shrinks the result
    afterwards. The three others pass through ``pre_transform`` first, which
    should repeat what precedes the mosaic (reference.md 10.3).

    The data set is read through ``results['dataset']``, where mmpose's
    COCO-style data sets put themselves.

    Args:
        pre_transform (Sequence[dict], optional): Transforms of the three
            others, beginning with loading.
        prob (float): Probability in [0, 1]. Defaults to 0.5.
        pad_val (float): Grey value of the padding. Defaults to 127.
    """

    def __init__(self,
                 pre_transform: Optional[Sequence[Dict]] = None,
                 prob: float = 0.5,
                 pad_val: float = 127) -> None:
        self.pre_transform = Compose(pre_transform or [])
        self.prob = prob
        self.pad_val = pad_val

    def transform(self, results: Dict) -> Dict:
        """Replace the sample by a mosaic with probability ``prob``.

        Args:
            results (dict): With ``img`` and ``dataset``.

        Returns:
            dict: The mosaic or the unchanged sample.
        """
        if np.random.rand() >= self.prob:
            return results
        dataset = results.get('dataset')
        if dataset is None:
            raise ValueError(
                "PoseMosaic needs results['dataset'] to draw the other "
                "images: use one of mmpose's data sets with "
                "data_mode='bottomup', or remove the mosaic from the "
                'pipeline.')
        return self.join([results] + self._others(dataset))

    def _others(self, dataset) -> List[Dict]:
        """Draw and transform three samples."""
        others = []
        for index in np.random.randint(0, len(dataset), 3):
            other = copy.deepcopy(dataset.get_data_info(int(index)))
            other['dataset'] = dataset
            others.append(self.pre_transform(other))
        return others

    def join(self, samples: List[Dict]) -> Dict:
        """Join four samples: upper left, upper right, lower left, lower right.

        Args:
            samples (list[dict]): Four result dictionaries. The first one is
                changed and returned.

        Returns:
            dict: The joined sample.
        """
        sizes = np.array([sample['img'].shape[:2] for sample in samples])
        canvas_shape, corners = self._layout(sizes)
        image = samples[0]['img']
        canvas = np.full(canvas_shape + image.shape[2:], self.pad_val,
                         image.dtype)
        for sample, (height, width), (left, top) in zip(
                samples, sizes, corners):
            canvas[top:top + height, left:left + width] = sample['img']
            scale_and_shift(sample, 1.0, (left, top))
        results = samples[0]
        for key in INSTANCE_KEYS:
            parts = [s[key] for s in samples if s.get(key) is not None]
            if not parts:
                continue
            if isinstance(parts[0], np.ndarray):
                results[key] = np.concatenate(parts)
            else:
                results[key] = [value for part in parts for value in part]
        results['img'] = canvas
        results['img_shape'] = canvas.shape[:2]
        return results

    @staticmethod
    def _layout(
        sizes: np.ndarray
    ) -> Tuple[Tuple[int, int], List[Tuple[int, int]]]:
        """Return the canvas (height, width) and the (left, top) corners."""
        (h0, w0), (h1, w1), (_, w2), (_, w3) = sizes.tolist()
        upper = max(h0, h1)
        lower = int(sizes[2:, 0].max())
        width = max(w0 + w1, w2 + w3)
        first, second = (width - w0 - w1) // 2, (width - w2 - w3) // 2
        corners = [(first, upper - h0), (first + w0, upper - h1),
                   (second, upper), (second + w2, upper)]
        return (upper + lower, width), corners

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(prob={self.prob}, '
                f'pad_val={self.pad_val}, pre_transform='
                f'{self.pre_transform})')
