"""Points that no other point is better than, and how much they dominate."""
from typing import List, Sequence

import numpy as np

Objectives = Sequence[Sequence[float]]


def nondominated(values: Objectives) -> List[int]:
    """Return the places of the points that no other point dominates.

    Args:
        values (Sequence): Points of shape (N, M), every objective to be minimised.

    Returns:
        list[int]: Places in order of the first objective; of equal points the first.
    """
    if not len(values):
        return []
    points = np.asarray(values, float).reshape(len(values), -1)
    order = np.lexsort((np.arange(len(points)), *points.T[::-1]))
    kept: List[int] = []
    for place in order:
        # everything that dominates a point comes before it in this order
        if not any((points[other] <= points[place]).all() for other in kept):
            kept.append(int(place))
    return kept


def hypervolume(values: Objectives, reference: Sequence[float]) -> float:
    """Return the volume that points dominate within a reference point.

    Exact, by slices along the last objective.

    Args:
        values (Sequence): Points of shape (N, M), every objective to be minimised.
        reference (Sequence[float]): The worst value of each; what is beyond counts
            as nothing.
    """
    worst = np.asarray(reference, float)
    points = np.asarray(values, float).reshape(-1, len(worst))
    points = points[(points < worst).all(1)]
    if not len(points):
        return 0.
    if len(worst) == 1:
        return float(worst[0] - points.min())
    points = points[nondominated(points)]
    points = points[np.argsort(points[:, -1], kind='stable')]
    ends = np.append(points[1:, -1], worst[-1])
    return float(sum(
        (end - point[-1]) * hypervolume(points[:count, :-1], worst[:-1])
        for count, (point, end) in enumerate(zip(points, ends), 1) if end > point[-1]))


def hypervolume_history(values: Objectives, reference: Sequence[float],
                        steps: Sequence[int]) -> List[float]:
    """Return the hypervolume of the first points, for several numbers of them.

    Args:
        values (Sequence): Points in the order in which they were evaluated.
        reference (Sequence[float]): See :func:`hypervolume`.
        steps (Sequence[int]): Numbers of points.
    """
    return [hypervolume(values[:step], reference) for step in steps]
