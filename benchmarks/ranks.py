"""How well one ranking tells another, within groups and over all, with bootstrap intervals."""
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np

#: Draws of a bootstrap.
DRAWS = 2000


def grouped_tau(left: Sequence[float], right: Sequence[float],
                groups: Optional[Sequence[int]] = None) -> float:
    """Return Kendall's tau-b over the pairs that lie in one group.

    Args:
        left (Sequence[float]): A ranking, shape (N, ).
        right (Sequence[float]): Another.
        groups (Sequence[int], optional): Group of each item; None for one group.

    Returns:
        float: NaN where a side is constant within every group.
    """
    first, second = np.asarray(left, float), np.asarray(right, float)
    one, other = (np.sign(x[:, None] - x[None]) for x in (first, second))
    same = np.ones_like(one, bool)
    if groups is not None:
        places = np.asarray(groups)
        same = places[:, None] == places[None]
    scale = np.sqrt(float((one[same] ** 2).sum()) * float((other[same] ** 2).sum()))
    return float((one * other)[same].sum() / scale) if scale else float('nan')


def thirds(values: Sequence[float]) -> np.ndarray:
    """Return the third of each value, 0 for the smallest, as even as can be."""
    order = np.argsort(np.asarray(values), kind='stable')
    found = np.empty(len(order), int)
    for number, part in enumerate(np.array_split(order, 3)):
        found[part] = number
    return found


@dataclass
class Estimate:
    """A number with its 95 % interval."""
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.value:+.2f} ({self.low:+.2f} .. {self.high:+.2f})'


def tau(runs: Sequence[Sequence[float]], target: Sequence[float],
        groups: Optional[Sequence[int]] = None, seed: int = 0) -> Estimate:
    """Return the mean tau of several runs of one method with a target.

    Args:
        runs (Sequence): Values of each run, shape (R, N).
        target (Sequence[float]): What they are to rank, shape (N, ).
        groups (Sequence[int], optional): Only pairs within a group count.
        seed (int): Of the bootstrap.

    Returns:
        Estimate: Over architectures (within their groups) and runs drawn with replacement.
    """
    return _estimate(lambda rows, places: _mean_tau(runs, target, groups, rows, places),
                     len(runs), groups, len(target), seed)


def ceiling(seed_to_seed: float, seeds: int) -> float:
    """Return the tau that a ranking without error has with the mean of noisy trainings.

    For normal values: Greiner's relation between tau and correlation, Spearman and Brown's
    reliability of a mean.

    Args:
        seed_to_seed (float): Tau between two trainings of everything, 0..1.
        seeds (int): Trainings in the mean.
    """
    return 2 / np.pi * np.arcsin(np.sqrt(_reliability(seed_to_seed, seeds)))


def without_noise(value: float, seed_to_seed: float, seeds: int) -> float:
    """Return the tau that a ranking would have with what the trainings are without noise.

    Args:
        value (float): Its tau with the mean of the trainings.
        seed_to_seed (float): See :func:`ceiling`.
        seeds (int): See there.
    """
    correlation = np.sin(np.pi / 2 * value) / np.sqrt(_reliability(seed_to_seed, seeds))
    return 2 / np.pi * np.arcsin(np.clip(correlation, -1, 1))


def _reliability(seed_to_seed: float, seeds: int) -> float:
    single = max(np.sin(np.pi / 2 * seed_to_seed), 1e-9)
    return seeds * single / (1 + (seeds - 1) * single)


def tau_gain(runs: Sequence[Sequence[float]], rival: Sequence[float], target: Sequence[float],
             groups: Optional[Sequence[int]] = None, seed: int = 0) -> Estimate:
    """Return by how much the mean tau of runs exceeds a rival's, on the same draws."""
    return _estimate(
        lambda rows, places: _mean_tau(runs, target, groups, rows, places) - _mean_tau(
            [rival], target, groups, [0], places), len(runs), groups, len(target), seed)


def _mean_tau(runs: Sequence[Sequence[float]], target: Sequence[float],
              groups: Optional[Sequence[int]], rows: Sequence[int], places: np.ndarray) -> float:
    right = np.asarray(target)[places]
    inside = None if groups is None else np.asarray(groups)[places]
    return float(np.mean([grouped_tau(np.asarray(runs[row])[places], right, inside)
                          for row in rows]))


def _estimate(measure: Callable[[Sequence[int], np.ndarray], float], count: int,
              groups: Optional[Sequence[int]], items: int, seed: int) -> Estimate:
    rng = np.random.default_rng(seed)
    kinds = np.zeros(items, int) if groups is None else np.asarray(groups)
    members: List[np.ndarray] = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    draws = [measure(rng.integers(count, size=count),
                     np.concatenate([rng.choice(part, len(part)) for part in members]))
             for _ in range(DRAWS)]
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return Estimate(measure(range(count), np.arange(items)), float(low), float(high))


def mean_difference(left: Sequence[float], right: Sequence[float]) -> Tuple[float, float]:
    """Return the difference of two means and half its 95 % interval (Welch)."""
    from scipy.stats import t
    first, second = np.asarray(left, float), np.asarray(right, float)
    parts = [x.var(ddof=1) / len(x) for x in (first, second)]
    if not sum(parts):
        return float(first.mean() - second.mean()), 0.
    freedom = sum(parts) ** 2 / sum(p ** 2 / (len(x) - 1)
                                    for p, x in zip(parts, (first, second)))
    return (float(first.mean() - second.mean()),
            float(t.ppf(0.975, freedom) * np.sqrt(sum(parts))))
