"""Arguments of the pose head, checked and completed."""
from typing import List, Sequence, Tuple, Union

COCO_SIGMAS = (0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
               0.107, 0.107, 0.087, 0.087, 0.089, 0.089)


def check_sigmas(sigmas: Union[Sequence[float], float, None], num_keypoints: int) -> List[float]:
    """Return one positive sigma for each key point.

    Args:
        sigmas (Sequence[float] | float, optional): What the config gives.
        num_keypoints (int): Number of key points.

    Raises:
        ValueError: If they do not fit, or are missing for other than COCO's 17.
    """
    if sigmas is None:
        if num_keypoints != len(COCO_SIGMAS):
            raise ValueError(
                f'YOLONASPoseHead: give sigmas, one for each of the {num_keypoints} key points '
                '(or one number for all, for example 0.05); only the 17 COCO key points have '
                'known values.')
        sigmas = COCO_SIGMAS
    if isinstance(sigmas, (int, float)):
        sigmas = [sigmas] * num_keypoints
    if len(sigmas) != num_keypoints:
        raise ValueError(
            f'YOLONASPoseHead: sigmas has {len(sigmas)} entries, but num_keypoints is '
            f'{num_keypoints}; they must be equal.')
    if min(sigmas) <= 0:
        raise ValueError(f'YOLONASPoseHead: sigmas must be positive, got {min(sigmas)}.')
    return [float(sigma) for sigma in sigmas]


def per_level(value: Union[Sequence[int], int], num_levels: int, name: str) -> Tuple[int, ...]:
    """Return one number for each level.

    Args:
        value (Sequence[int] | int): What the config gives; one for all or a list.
        num_levels (int): Number of levels.
        name (str): Name of the argument for the message.

    Raises:
        ValueError: If a list has another length.
    """
    values = (value, ) * num_levels if isinstance(value, int) else tuple(value)
    if len(values) != num_levels:
        raise ValueError(f'YOLONASPoseHead: {name} needs one entry for each of the {num_levels} '
                         f'strides, got {len(values)}.')
    return values
