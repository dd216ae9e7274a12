"""Transforms for detection and pose pipelines."""
from .center_pad import CenterPad
from .hsv_random_aug import HSVRandomAug
from .load_checked_image import LoadCheckedImage
from .load_weighted_annotations import LoadWeightedAnnotations
from .pack_weighted_det_inputs import PackWeightedDetInputs
from .pose_brightness_contrast import PoseBrightnessContrast
from .pose_mosaic import PoseMosaic
from .pose_pack_labels import PosePackLabels
from .pose_random_affine import PoseRandomAffine
from .pose_random_flip import PoseRandomFlip
from .pose_random_rot90 import PoseRandomRot90
from .pose_remove_small import PoseRemoveSmall
from .pose_resize_pad import PoseResizePad
from .pose_sanitize import PoseSanitize
from .random_channel_swap import RandomChannelSwap
from .yolonas_mix_up import YOLONASMixUp
from .yolonas_random_affine import YOLONASRandomAffine

__all__ = [
    'CenterPad', 'HSVRandomAug', 'LoadCheckedImage', 'LoadWeightedAnnotations',
    'PackWeightedDetInputs',
    'PoseBrightnessContrast', 'PoseMosaic', 'PosePackLabels', 'PoseRandomAffine',
    'PoseRandomFlip', 'PoseRandomRot90',
    'PoseRemoveSmall', 'PoseResizePad', 'PoseSanitize', 'RandomChannelSwap',
    'YOLONASMixUp', 'YOLONASRandomAffine'
]
