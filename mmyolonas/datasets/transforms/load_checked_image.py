"""Loading images through the package's one reader."""
from typing import Any, Dict, Optional

import cv2
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile

from mmyolonas.registry import TRANSFORMS
from mmyolonas.utils.images import decode_image

_FLAGS = {'color': cv2.IMREAD_COLOR,
          'color_ignore_orientation': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION}


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with :func:`mmyolonas.utils.images.decode_image`.

    Same arguments and results. A file is looked at before it is decoded (size,
    whether it is whole), and images of more than 8 bits become what a model
    expects. An image that is in the results already is kept, as by mmpose's
    ``LoadImage``. Other colour types and back ends are mmcv's.
    """

    def transform(self, results: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Load an image.

        Args:
            results (dict): With ``img_path``, or with ``img`` (H, W, 3).

        Returns:
            dict: With ``img`` (H, W, 3) BGR, ``img_shape`` and ``ori_shape``.

        Raises:
            ImageError: The file cannot be used.
        """
        if self.color_type not in _FLAGS or self.imdecode_backend != 'cv2':
            return super().transform(results)
        if results.get('img') is None:
            path = results['img_path']
            data = fileio.get(path, backend_args=self.backend_args)
            results['img'] = decode_image(data, path, _FLAGS[self.color_type])
        elif 'img_path' not in results:
            results['img_path'] = None
        if self.to_float32:
            results['img'] = results['img'].astype(np.float32)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def use_checked_loading(pipeline: Any) -> None:
    """Replace the hosts' plain image loaders in a built pipeline, nested ones too.

    Classes derived from them are left as they are.

    Args:
        pipeline: A ``Compose`` or a transform; changed in place.
    """
    for name in ('transforms', 'pre_transform'):
        inner = getattr(pipeline, name, None)
        if isinstance(inner, list):
            inner[:] = [_checked(item) for item in inner]
            for item in inner:
                use_checked_loading(item)
        elif inner is not None and inner is not pipeline:
            use_checked_loading(inner)


def _checked(transform: Any) -> Any:
    kind = type(transform)
    plain = kind is LoadImageFromFile or (
        kind.__name__ == 'LoadImage' and kind.__module__.startswith('mmpose.'))
    if not plain:
        return transform
    loader = LoadCheckedImage.__new__(LoadCheckedImage)
    loader.__dict__.update(transform.__dict__)
    return loader
