"""What the shape of labelled poses tells: how exact the labels are, which way is up."""
from typing import List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.formats.keypoints import words_of
from mmyolonas.datasets.inspection.poses import PoseTable

#: OKS constants of COCO's key points by the words of their names.
COCO_SIGMAS = dict(nose=0.026, eye=0.025, ear=0.035, shoulder=0.079, elbow=0.072, wrist=0.062,
                   hip=0.107, knee=0.087, ankle=0.089)
_ENOUGH = 30  # whole objects from which a shape can be told
_RIGID = (0.025, 0.107)  # COCO's smallest and largest
_DEFAULT = 0.05
_ROUNDS = 5
_FOLDS = 5
_RIDGE = 1e-3


def estimate_sigmas(names: Sequence[str], table: PoseTable,
                    areas: np.ndarray) -> Tuple[List[float], str]:
    """Return OKS constants and where they are from, a sentence.

    COCO's constants are the spread of repeated labels. Here each object is labelled once, so
    that the spread has to be judged from how well the other points of an object foretell
    one (linear regression after a rotation to the mean shape, on held-out objects). A joint
    that moves cannot be foretold, so this is an upper bound, and is kept within COCO's range.

    Args:
        names (Sequence[str]): K names; those of COCO's points get COCO's constants.
        table (PoseTable): Training objects.
        areas (ndarray): (M,) areas of the objects in pixels.

    Returns:
        tuple[list[float], str]: K constants.
    """
    known = [_of_coco(name) for name in names]
    if all(known):
        return known, "OKS constants of the key points are COCO's, by their names"
    errors = prediction_errors(table, areas)
    if errors is None:
        return [_DEFAULT] * len(names), (
            f'OKS constants are {_DEFAULT} for every key point: there are too few whole objects '
            'to tell how exact the labels are (--sigmas)')
    low, high = _RIGID
    sigmas = [round(float(np.clip(error, low, high)), 3) for error in errors]
    return sigmas, (f'OKS constants from {min(sigmas)} to {max(sigmas)}, from how well the other '
                    'points of an object foretell each one; an upper bound (--sigmas)')


def _of_coco(name: str) -> Optional[float]:
    plain = [word for word in words_of(name) if word not in ('left', 'right', 'l', 'r')]
    if len(plain) != 1:
        return None
    word = plain[0]
    for side in ('left', 'right', 'l', 'r'):
        if word not in COCO_SIGMAS:
            word = word.removeprefix(side)
    return COCO_SIGMAS.get(word)


def prediction_errors(table: PoseTable, areas: np.ndarray) -> Optional[np.ndarray]:
    """Return how far each point lies from where the others foretell it.

    Args:
        table (PoseTable): M objects.
        areas (ndarray): (M,).

    Returns:
        ndarray: (K,) standard deviation by coordinate in units of the square root of the
        area, on objects that were left out of the fit (five folds); None if too few objects
        have all their points.
    """
    whole = table.labelled.all(1) & (areas > 0)
    count = table.visible.shape[1]
    if whole.sum() < max(_ENOUGH, 3 * count) or count < 4:
        return None
    points, unit = table.points[whole], np.sqrt(areas[whole])
    return np.array([_foretold(np.delete(points, point, axis=1), points[:, point], unit)
                     for point in range(count)])


def _foretold(others: np.ndarray, point: np.ndarray, unit: np.ndarray) -> float:
    """Return how far points (M, 2) lie from where others (M, K - 1, 2) foretell them."""
    # in the frame of the others alone: one that the point itself moves would give it away
    shapes, turn = align(others)
    size = np.linalg.norm(others - others.mean(1, keepdims=True), axis=(1, 2))
    size = np.maximum(size, 1e-9)
    place = (point - others.mean(1)) @ [1, 1j] / size * np.exp(1j * turn)
    target = np.stack([place.real, place.imag], -1)
    inputs = np.hstack([shapes.reshape(len(shapes), -1), np.ones((len(shapes), 1))])
    left, folds = np.zeros_like(target), np.arange(len(shapes)) % _FOLDS
    for fold in range(_FOLDS):
        test = folds == fold
        weights = np.linalg.solve(
            inputs[~test].T @ inputs[~test] + _RIDGE * np.eye(inputs.shape[1]),
            inputs[~test].T @ target[~test])
        left[test] = target[test] - inputs[test] @ weights
    # from the median, so that single wrong labels do not count
    return float(1.4826 * np.median(np.abs(left * (size / unit)[:, None])))


def align(points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Turn, move and scale shapes onto their mean (generalised Procrustes).

    Args:
        points (ndarray): (M, K, 2), all labelled.

    Returns:
        tuple[ndarray, ndarray]: The shapes (M, K, 2), of size 1, and the angle in radians by
        which each one was turned, (M,).
    """
    shapes = points[..., 0] + 1j * points[..., 1]
    shapes = shapes - shapes.mean(1, keepdims=True)
    shapes = shapes / np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-9)
    mean = shapes[0]
    for _ in range(_ROUNDS):
        turn = np.angle((np.conj(shapes) * mean).sum(1))
        mean = (shapes * np.exp(1j * turn)[:, None]).mean(0)
        mean = mean / max(np.linalg.norm(mean), 1e-9)
    turn = np.angle((np.conj(shapes) * mean).sum(1))
    turned = shapes * np.exp(1j * turn)[:, None]
    return np.stack([turned.real, turned.imag], -1), turn


def uprightness(table: PoseTable) -> Optional[float]:
    """Return how alike the directions of the objects are: 1 all the same, 0 any.

    Args:
        table (PoseTable): Objects; those with at least two thirds of their points count,
            by the points that they have in common with most.

    Returns:
        float: Length of the mean direction; None if there are fewer than 30 objects.
    """
    common = table.labelled.mean(0) > 0.5
    if common.sum() < 2:
        return None
    whole = table.labelled[:, common].all(1)
    if whole.sum() < _ENOUGH:
        return None
    _, turn = align(table.points[whole][:, common])
    return float(np.abs(np.exp(1j * turn).mean()))
