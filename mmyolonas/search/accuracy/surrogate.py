"""A model of accuracy over architectures, fitted to what has been trained."""
import warnings
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import (
        RBF,
        ConstantKernel,
        DotProduct,
        Kernel,
        WhiteKernel,
    )
except ImportError as error:
    raise ImportError(f'The search needs scikit-learn ({error}). '
                      'Install it with: pip install scikit-learn') from error


@dataclass
class Surrogate:
    """Gaussian process on numbers of the whole network and on its choices.

    The covariance of two architectures is a sum: linear and smooth in the numbers
    of the whole network (logarithms of size and FLOPs, scores), and linear in the
    choices, each with an unknown strength (Rasmussen and Williams, Gaussian
    Processes for Machine Learning, 2006, chapters 2 and 5). The strengths maximise
    the likelihood of the trainings, within limits: there are few.

    Args:
        wholes (ndarray): Numbers of the whole network (N, D).
        choices (ndarray): :meth:`Space.vector` of each (N, E); E may be 0.
        accuracy (ndarray): What was reached (N,).
    """
    wholes: np.ndarray
    choices: np.ndarray
    accuracy: np.ndarray

    def __post_init__(self) -> None:
        self.wholes = np.asarray(self.wholes, float).reshape(len(self.accuracy), -1)
        self.choices = np.asarray(self.choices, float).reshape(len(self.accuracy), -1)
        self.accuracy = np.asarray(self.accuracy, float)
        scale = self.wholes.std(0)
        self._center, self._scale = self.wholes.mean(0), np.where(scale > 1e-12, scale, 1.)
        self._middle = self.choices.mean(0)
        self._mean = float(self.accuracy.mean())
        self._spread = max(float(self.accuracy.std()), 1e-9)
        self._process = GaussianProcessRegressor(
            _kernel(self.wholes.shape[1], self.choices.shape[1]), alpha=1e-8)
        with warnings.catch_warnings():
            # a strength at its limit is an answer, too
            warnings.simplefilter('ignore', ConvergenceWarning)
            self._process.fit(self._points(self.wholes, self.choices),
                              (self.accuracy - self._mean) / self._spread)

    def _points(self, wholes: np.ndarray, choices: np.ndarray) -> np.ndarray:
        """Return both side by side, scaled so that the number of columns does not matter."""
        wholes = (wholes - self._center) / self._scale / np.sqrt(self.wholes.shape[1])
        # a difference of half the range in each choice counts as one
        choices = 2 * (choices - self._middle) / np.sqrt(max(self.choices.shape[1], 1))
        return np.hstack([wholes, choices])

    def predict(self, wholes: np.ndarray, choices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return the accuracy and its standard deviation, without the noise of a training.

        Args:
            wholes (ndarray): Numbers of the whole network (M, D).
            choices (ndarray): :meth:`Space.vector` of each (M, E).
        """
        wholes = np.asarray(wholes, float).reshape(-1, self.wholes.shape[1])
        choices = np.asarray(choices, float).reshape(len(wholes), self.choices.shape[1])
        mean, deviation = self._process.predict(self._points(wholes, choices), return_std=True)
        noise = self._process.kernel_.k2.noise_level
        return (self._mean + self._spread * mean,
                self._spread * np.sqrt(np.maximum(deviation**2 - noise, 0)))


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


def _strength(start: float, limit: float) -> ConstantKernel:
    """Return an unknown strength, which is the square root of the kernel's constant."""
    return ConstantKernel(start**2, (0.02**2, limit**2))


def _kernel(num_wholes: int, num_choices: int) -> Kernel:
    kernel = _Columns(_strength(0.7, 5.) * DotProduct(0., 'fixed')
                      + _strength(0.5, 3.) * RBF(2., (0.5, 10.)), 0, num_wholes)
    if num_choices:
        kernel = kernel + _Columns(_strength(0.5, 3.) * DotProduct(0., 'fixed'), num_wholes)
    return kernel + WhiteKernel(0.25, (0.1**2, 2.**2))


class _Columns(Kernel):
    """A kernel on some of the columns.

    Args:
        kernel (Kernel): The kernel.
        first, last (int): The columns.
    """

    def __init__(self, kernel: Kernel, first: int, last: Optional[int] = None) -> None:
        self.kernel, self.first, self.last = kernel, first, last

    @property
    def hyperparameters(self) -> list:
        return self.kernel.hyperparameters

    @property
    def theta(self) -> np.ndarray:
        return self.kernel.theta

    @theta.setter
    def theta(self, theta: np.ndarray) -> None:
        self.kernel.theta = theta

    @property
    def bounds(self) -> np.ndarray:
        return self.kernel.bounds

    def _cut(self, points: Optional[np.ndarray]) -> Optional[np.ndarray]:
        return None if points is None else points[:, self.first:self.last]

    def __call__(self, X: np.ndarray, Y: Optional[np.ndarray] = None,  # noqa: N803
                 eval_gradient: bool = False):
        return self.kernel(self._cut(X), self._cut(Y), eval_gradient)

    def diag(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return self.kernel.diag(self._cut(X))

    def is_stationary(self) -> bool:
        return self.kernel.is_stationary()
