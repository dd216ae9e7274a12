"""Properties that other packages' loaders look for in a file."""
from typing import Dict

from mmyolonas.export.metadata import ModelMetadata


def flavour_props(metadata: ModelMetadata, batch: int = 1,
                  num_keypoints: int = 0) -> Dict[str, str]:
    """Return the properties of a flavour beside our own.

    Ultralytics' loaders evaluate ``names``, ``imgsz`` and ``kpt_shape`` as Python literals.

    Args:
        metadata (ModelMetadata): Description of the file.
        batch (int): Images per run. Defaults to 1.
        num_keypoints (int): Of a pose model. Defaults to 0.

    Returns:
        dict[str, str]: Empty for a flavour whose readers look for nothing.

    Raises:
        ValueError: The description lacks the input size.
    """
    if metadata.postprocess.nms != 'ultralytics':
        return {}
    if not metadata.input_size:
        raise ValueError('the flavour ultralytics needs the input size in the description.')
    width, height = metadata.input_size
    props = dict(
        names=repr(dict(enumerate(metadata.class_names))),
        task='pose' if metadata.task == 'pose' else 'detect',
        stride=str(max(metadata.strides)), imgsz=repr([height, width]), batch=str(batch),
        description='YOLO-NAS', author='mmyolonas', version=metadata.mmyolonas_version)
    if metadata.task == 'pose':
        props['kpt_shape'] = repr([num_keypoints, 3])
    return props
