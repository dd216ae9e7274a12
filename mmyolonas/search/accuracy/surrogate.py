"""A model of accuracy over architectures, fitted to what has been trained."""
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize


@dataclass
class Surrogate:
    """Gaussian process on numbers of the whole network and on its choices.

    The covariance of two architectures is a sum: linear and smooth in the numbers
    of the whole network (logarithms of size and FLOPs, scores), and linear in the
    choices, each with an unknown strength (Rasmussen and Williams, Gaussian
    Processes for Machine Learning, 2006, chapters 2 and 5). The strengths maximise
    the likelihood of the trainings, with a weak prior: there are few.

    Args:
        wholes (ndarray): Numbers of the whole network (N, D).
        choices (ndarray): :meth:`Space.vector` of each (N, E); E may be 0.
        accuracy (ndarray): What was reached (N,).
    """
    wholes: np.ndarray
    choices: np.ndarray
    accuracy: np.ndarray
    _logs: np.ndarray = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.wholes = np.asarray(self.wholes, float).reshape(len(self.accuracy), -1)
        self.choices = np.asarray(self.choices, float).reshape(len(self.accuracy), -1)
        self.accuracy = np.asarray(self.accuracy, float)
        self._center, self._scale = _standard(self.wholes)
        self._mean = float(self.accuracy.mean())
        self._spread = max(float(self.accuracy.std()), 1e-9)
        self._middle = self.choices.mean(0) if self.choices.size else self.choices[:1].sum(0)
        points = self._points(self.wholes, self.choices)
        target = (self.accuracy - self._mean) / self._spread
        self._logs = _fit(points, target)
        self._train = points
        kernel = _covariance(points, points, self._logs)
        self._factor = cho_factor(kernel + np.exp(2 * self._logs[-1]) * np.eye(len(target)),
                                  lower=True)
        self._weights = cho_solve(self._factor, target)

    def _points(self, wholes: np.ndarray, choices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        return (wholes - self._center) / self._scale, choices - self._middle

    def predict(self, wholes: np.ndarray, choices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return the accuracy and its standard deviation.

        Args:
            wholes (ndarray): Numbers of the whole network (M, D).
            choices (ndarray): :meth:`Space.vector` of each (M, E).
        """
        wholes = np.asarray(wholes, float).reshape(-1, self.wholes.shape[1])
        choices = np.asarray(choices, float).reshape(len(wholes), self.choices.shape[1])
        points = self._points(wholes, choices)
        cross = _covariance(points, self._train, self._logs)
        mean = cross @ self._weights
        variance = _variance(points, self._logs) - (
            cross * cho_solve(self._factor, cross.T).T).sum(1)
        return (self._mean + self._spread * mean,
                self._spread * np.sqrt(np.maximum(variance, 0)))


def cross_validate(wholes: np.ndarray, choices: np.ndarray, accuracy: np.ndarray,
                   folds: int = 5, seed: int = 0) -> np.ndarray:
    """Return what a surrogate predicts for each architecture if it has not seen it.

    Args:
        wholes (ndarray): See :class:`Surrogate`.
        choices (ndarray): See :class:`Surrogate`.
        accuracy (ndarray): See :class:`Surrogate`.
        folds (int): Parts that are left out in turn. Defaults to 5.
        seed (int): Seed of the parts.
    """
    accuracy = np.asarray(accuracy, float)
    part = np.random.default_rng(seed).permutation(len(accuracy)) % min(folds, len(accuracy))
    predicted = np.empty(len(accuracy))
    for left_out in np.unique(part):
        train, test = part != left_out, part == left_out
        model = Surrogate(wholes[train], choices[train], accuracy[train])
        predicted[test] = model.predict(wholes[test], choices[test])[0]
    return predicted


def _standard(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    scale = values.std(0)
    return values.mean(0), np.where(scale > 1e-12, scale, 1.)


# logarithms: linear and smooth strength and length of the wholes, strength of the
# choices, noise
_START = np.log([0.7, 0.5, 2., 0.5, 0.5])
_BOUNDS = [(np.log(0.02), np.log(5.)), (np.log(0.02), np.log(3.)), (np.log(0.5), np.log(10.)),
           (np.log(0.02), np.log(3.)), (np.log(0.1), np.log(2.))]


def _covariance(left: Sequence[np.ndarray], right: Sequence[np.ndarray],
                logs: np.ndarray) -> np.ndarray:
    linear, smooth, length, choice, _ = np.exp(logs)
    count = left[0].shape[1]
    product = left[0] @ right[0].T
    squares = (left[0]**2).sum(1)[:, None] + (right[0]**2).sum(1)[None] - 2 * product
    kernel = linear**2 * product / count
    kernel += smooth**2 * np.exp(-np.maximum(squares, 0) / (2 * count * length**2))
    if left[1].shape[1]:
        # a difference of half the range in each choice counts as one
        kernel += choice**2 * 4 * (left[1] @ right[1].T) / left[1].shape[1]
    return kernel


def _variance(points: Sequence[np.ndarray], logs: np.ndarray) -> np.ndarray:
    linear, smooth, _, choice, _ = np.exp(logs)
    variance = linear**2 * (points[0]**2).mean(1) + smooth**2
    if points[1].shape[1]:
        variance = variance + choice**2 * 4 * (points[1]**2).mean(1)
    return variance


def _fit(points: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Return the logarithms of highest posterior probability."""

    def loss(logs: np.ndarray) -> float:
        kernel = _covariance(points, points, logs)
        kernel += (np.exp(2 * logs[-1]) + 1e-8) * np.eye(len(target))
        try:
            factor, lower = cho_factor(kernel, lower=True)
        except np.linalg.LinAlgError:
            return 1e6
        half = target @ cho_solve((factor, lower), target)
        return 0.5 * half + np.log(np.diag(factor)).sum() + (0.5 * (logs - _START)**2).sum()

    best: Optional[Tuple[float, List[float]]] = None
    for shift in (-0.7, 0.7):
        found = minimize(loss, np.clip(_START + shift * np.array([0, 0, 0, 1, -1]),
                                       *np.transpose(_BOUNDS)),
                         method='L-BFGS-B', bounds=_BOUNDS)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), found.x.tolist())
    return np.array(best[1])
