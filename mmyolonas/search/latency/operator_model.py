"""Times of operators that were not measured, from those that were.

The time of a kind of operator is first a sum of what it must do: multiply, read,
write, load its weights, each at a rate that is not negative (a roofline without the
kink, fitted by non-negative least squares to relative errors). What convolutions
deviate from it is smooth in the logarithms of their sides and depends on how channels
fill the vectors of the processor; it is interpolated by a Gaussian process
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2)
whose length scales maximise the likelihood of the measurements.
"""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize, nnls

from mmyolonas.search.latency.operators import Operator

#: Milliseconds below which a profile's figure is noise.
FLOOR = 1e-3
#: Operators of a kind from which deviations are interpolated.
MIN_SAMPLES = 30
#: Samples that the length scales are fitted to.
_MAX_FITTED = 400
_VECTOR = 16


def work(operators: Sequence[Operator]) -> np.ndarray:
    """Return what operators must do, of shape (N, 5).

    One each for being called, millions of multiplications, of values read, of values
    written and of weights.
    """
    return np.array([[1., op.macs / 1e6, op.input_values / 1e6, op.values / 1e6,
                      op.weights / 1e6] for op in operators]).reshape(-1, 5)


def features(operators: Sequence[Operator]) -> np.ndarray:
    """Return on what an operator's deviation depends, of shape (N, 7): logarithms."""
    rows = []
    for op in operators:
        inputs = op.in_channels // (op.groups if op.kind == 'conv' else 1)
        rows.append([
            np.log2(inputs), np.log2(op.out_channels), np.log2(op.height * op.width),
            np.log2(op.kernel), np.log2(op.stride),
            np.log2(-(-inputs // _VECTOR) * _VECTOR / inputs),
            np.log2(-(-op.out_channels // _VECTOR) * _VECTOR / op.out_channels)])
    return np.array(rows).reshape(-1, 7)


@dataclass
class KindModel:
    """Times of one kind of operator.

    Args:
        rates (list[float]): Milliseconds per unit of :func:`work`.
        scales (list[float]): Length scale of each of :func:`features`; empty if
            deviations are not interpolated.
        signal (float): Standard deviation of the deviations' logarithm.
        noise (float): That of a measurement.
    """
    rates: List[float]
    scales: List[float] = field(default_factory=list)
    signal: float = 0.
    noise: float = 0.
    _points: Optional[np.ndarray] = field(default=None, repr=False)
    _weights: Optional[np.ndarray] = field(default=None, repr=False)
    _mean: float = field(default=0., repr=False)

    def base(self, operators: Sequence[Operator]) -> np.ndarray:
        """Return the times by work alone, in milliseconds."""
        return np.maximum(work(operators) @ np.asarray(self.rates), FLOOR)

    def condition(self, operators: Sequence[Operator], times: np.ndarray,
                  counts: np.ndarray) -> None:
        """Take measurements into account; fit the length scales first, if there are none."""
        if len(operators) < MIN_SAMPLES or len(set(features(operators)[:, 0])) < 3:
            return
        points = features(operators)
        target = np.log(np.maximum(times, FLOOR) / self.base(operators))
        self._mean = float(np.median(target))
        target = target - self._mean
        if not self.scales:
            self._fit_scales(points, target, counts)
        kernel = self._kernel(points, points) + np.diag(self._noise(counts))
        self._points = points
        self._weights = cho_solve(cho_factor(kernel, lower=True), target)

    def predict(self, operators: Sequence[Operator]) -> np.ndarray:
        """Return times in milliseconds."""
        base = self.base(operators)
        if self._points is None:
            return base
        deviation = self._kernel(features(operators), self._points) @ self._weights
        return base * np.exp(self._mean + deviation)

    def _noise(self, counts: np.ndarray) -> np.ndarray:
        return self.noise**2 / np.maximum(counts, 1) + 1e-6

    def _kernel(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the covariance: Matern 3/2, which allows for kinks."""
        scales = np.asarray(self.scales)
        distance = np.sqrt(np.maximum(_squares(left / scales, right / scales), 1e-12))
        distance *= np.sqrt(3)
        return self.signal**2 * (1 + distance) * np.exp(-distance)

    def _fit_scales(self, points: np.ndarray, target: np.ndarray, counts: np.ndarray) -> None:
        """Set the length scales, signal and noise of highest likelihood."""
        chosen = np.random.default_rng(0).permutation(len(points))[:_MAX_FITTED]
        points, target, counts = points[chosen], target[chosen], counts[chosen]
        varies = points.std(0) > 0

        def loss(logs: np.ndarray) -> float:
            self.scales = np.exp(logs[:-2]).tolist()
            self.signal, self.noise = np.exp(logs[-2:])
            kernel = self._kernel(points, points) + np.diag(self._noise(counts))
            factor = np.linalg.cholesky(kernel)
            half = np.linalg.solve(factor, target)
            # a weak pull towards the start keeps what the data does not decide
            return 0.5 * half @ half + np.log(np.diag(factor)).sum() + (
                0.05 * (logs - start)**2).sum()

        start = np.log([*np.where(varies, 2., 10.), max(target.std(), 0.05), 0.1])
        bounds = [(np.log(0.2), np.log(50.))] * (len(start) - 2) + [
            (np.log(0.02), np.log(2.)), (np.log(0.01), np.log(0.5))]
        found = minimize(loss, start, method='L-BFGS-B', bounds=bounds,
                         options=dict(maxiter=20)).x
        self.scales = np.exp(found[:-2]).tolist()
        self.signal, self.noise = map(float, np.exp(found[-2:]))


def _squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T


class OperatorModel:
    """Times of all kinds of operators in one precision.

    Args:
        interpolate (bool): Whether to interpolate what convolutions deviate by.
        kinds (dict[str, KindModel], optional): What was fitted before.
    """

    def __init__(self, interpolate: bool = False,
                 kinds: Optional[Dict[str, KindModel]] = None) -> None:
        self.interpolate = interpolate
        self.kinds = dict(kinds or {})

    def fit(self, samples: Dict[Operator, Tuple[float, int]]) -> 'OperatorModel':
        """Fit to measurements; rates and length scales that are known stay.

        Args:
            samples (dict): Milliseconds, and how many measurements, by operator.
        """
        by_kind: Dict[str, List[Operator]] = {}
        for operator in samples:
            by_kind.setdefault(family(operator), []).append(operator)
        for kind, found in by_kind.items():
            times = np.array([samples[op][0] for op in found])
            counts = np.array([samples[op][1] for op in found], float)
            if kind not in self.kinds:
                self.kinds[kind] = KindModel(_rates(found, times, counts))
            if self.interpolate and kind.startswith(('conv', 'deconv')):
                self.kinds[kind].condition(found, times, counts)
        return self

    def predict(self, operators: Sequence[Operator]) -> np.ndarray:
        """Return the time of each operator in milliseconds, 0 for a kind never seen."""
        times = np.zeros(len(operators))
        families = np.array([family(op) for op in operators])
        for kind, model in self.kinds.items():
            places = np.flatnonzero(families == kind)
            if len(places):
                times[places] = model.predict([operators[place] for place in places])
        return times

    def unknown(self, operators: Sequence[Operator]) -> List[str]:
        """Return the kinds of operators no measurement has seen."""
        return sorted({family(op) for op in operators} - set(self.kinds))


def family(operator: Operator) -> str:
    """Return the name under which an operator is fitted."""
    return (operator.kind + ' (prediction)' * operator.prediction +
            ' (float output)' * operator.float_output)


def _rates(operators: Sequence[Operator], times: np.ndarray, counts: np.ndarray) -> List[float]:
    """Return non-negative rates that minimise relative errors."""
    return relative_nnls(work(operators), np.maximum(times, FLOOR), counts)


def relative_nnls(columns: np.ndarray, target: np.ndarray, counts: Any = 1.,
                  rounds: int = 8, width: float = 0.05) -> List[float]:
    """Return non-negative factors of columns that give a target up to relative errors.

    Errors beyond ``width`` count by their size rather than its square (Huber's loss by
    iterated weights): on a shared machine some measurements are far too long.

    Args:
        columns (ndarray): Of shape (N, K).
        target (ndarray): Positive, of shape (N,).
        counts (float | ndarray): Weight of each row.
        rounds (int): Iterations. Defaults to 8.
        width (float): Relative error. Defaults to 0.05.
    """
    rows = columns / target[:, None]
    weight = np.ones(len(target))
    for _ in range(rounds):
        root = np.sqrt(weight * counts)
        factors = nnls(rows * root[:, None], root)[0]
        weight = width / np.maximum(np.abs(rows @ factors - 1), width)
    return factors.tolist()


@dataclass
class Accuracy:
    """How well times are predicted.

    Args:
        spearman (float): Rank correlation of predicted and measured times.
        error (float): Mean of the relative errors, 0.1 for 10 %.
        bias (float): Mean of predicted over measured, less 1.
        networks (int): How many networks.
    """
    spearman: float
    error: float
    bias: float
    networks: int


def accuracy(predicted: Sequence[float], measured: Sequence[float]) -> Accuracy:
    """Compare predicted and measured times."""
    from scipy.stats import spearmanr
    ratio = np.asarray(predicted) / np.asarray(measured)
    return Accuracy(float(spearmanr(predicted, measured)[0]), float(np.abs(ratio - 1).mean()),
                    float(ratio.mean() - 1), len(ratio))
