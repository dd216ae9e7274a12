from .boxes import (
    boxes_to_distances,
    distances_to_boxes,
    grid_priors,
    integral,
    pairwise_iou,
    points_in_boxes,
)
from .fusion import fold_norm
from .ignored import IGNORED_REGIONS, ignored_priors
from .keypoints import decode_keypoints, keypoint_errors, oks
from .levels import flatten_levels, gather_levels, select_candidates
from .misc import OptConfig, check_count, pick_arch, warn_of_nan
from .targets import PaddedTargets, pad_sequences, pad_targets, pad_weights, padding_mask

__all__ = [
    'IGNORED_REGIONS', 'OptConfig', 'PaddedTargets', 'boxes_to_distances', 'check_count',
    'decode_keypoints', 'distances_to_boxes', 'flatten_levels', 'fold_norm', 'gather_levels',
    'grid_priors', 'ignored_priors', 'integral', 'keypoint_errors', 'oks', 'pad_sequences',
    'pad_targets', 'pad_weights', 'padding_mask', 'pairwise_iou', 'pick_arch',
    'points_in_boxes', 'select_candidates', 'warn_of_nan'
]
