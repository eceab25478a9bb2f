"""A Gaussian process whose noise and length-scales are learned: few points, many questions.

=======  ==================  ============================================================================
symbol   shape               meaning
=======  ==================  ============================================================================
theta    (d + 2,)            logarithms: of d length-scales, of the signal's and of the noise's variance
K        (n, n)              covariance of what was observed: kernel, unknown mean, noise
L        (n, n)              its Cholesky factor, K = L L'
alpha    (n,)                K^-1 y
=======  ==================  ============================================================================

Values are expected near mean 0 and variance 1. Rasmussen and Williams 2006, algorithm 2.1 and eq. 5.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from rltune.samplers.auto.kernel import Array, Pairs, matern, pairs, squared_distances

P = ParamSpec("P")
T = TypeVar("T")

MEAN_VARIANCE = 1.0  # of the unknown mean
SMALLEST_NOISE = 1e-6  # variance; keeps K positive definite

# Priors of the logarithms: mean and standard deviation. The length-scales' is that of Hvarfner et al. 2024
# (arXiv 2402.02229) in terms of its mode, which grows with the root of the dimension.
SCALE_MODE, SCALE_SD = 0.5, math.sqrt(3.0)
SIGNAL_MODE, SIGNAL_SD = 1.0, 1.0
NOISE_MODE, NOISE_SD = 0.2, 2.0
STEPS = 40  # of the optimiser
STEP = 0.1  # in theta, over which a gradient's change is taken
DRAWN = 0.6  # of the standard deviations of theta's density is how far draws of it go


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates what computes with small matrices: on busy cores, BLAS threads wait for each other."""
    limited: Callable[P, T] = ThreadpoolController().wrap(limits=1, user_api="blas")(function)
    return limited


def _prior(d: int) -> tuple[Array, Array]:
    """Means and standard deviations of theta."""
    modes = [SCALE_MODE * math.sqrt(d)] * d + [SIGNAL_MODE, NOISE_MODE]
    return np.log(modes), np.array([SCALE_SD] * d + [SIGNAL_SD, NOISE_SD])


def loss(theta: Array, rows: Pairs, y: Array, doubt: Array) -> tuple[float, Array]:
    """The negative logarithm of the posterior density of theta, up to a constant, and its gradient.

    Args:
        theta: Shape (d + 2,).
        rows: What differs between any two of the n rows.
        y: Shape (n,).
        doubt: The variance that each has besides the noise, shape (n,).
    """
    d, n = len(theta) - 2, rows.n
    w, signal, noise = np.exp(-2.0 * theta[:d]), math.exp(theta[d]), math.exp(theta[d + 1])
    k, slope = matern(w @ rows.squares)
    cov = np.zeros((n, n))
    cov[rows.first, rows.second] = signal * k + MEAN_VARIANCE
    cov[np.diag_indices(n)] = signal + MEAN_VARIANCE + noise + SMALLEST_NOISE + doubt
    factor, failed = dpotrf(cov.T, lower=0, overwrite_a=1)  # LAPACK counts by columns: its upper half is our lower one
    mean, sd = _prior(d)
    off = (theta - mean) / sd
    if failed:
        return math.inf, off / sd
    alpha, _ = dpotrs(factor, y, lower=0)
    nlml = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum())
    inverse, _ = dpotri(factor, lower=0)
    outer = inverse.T[rows.first, rows.second] - alpha[rows.first] * alpha[rows.second]  # 2 d nlml / d K
    diagonal = float(np.sum(np.diag(inverse) - alpha * alpha))
    gradient = np.empty(d + 2)
    gradient[:d] = -2.0 * signal * w * (rows.squares @ (outer * slope))  # each pair stands in K twice
    gradient[d] = signal * (float(outer @ k) + 0.5 * diagonal)
    gradient[d + 1] = 0.5 * noise * diagonal
    return nlml + 0.5 * float(off @ off), gradient + off / sd


def fit(x: Array, y: Array, doubt: Array, is_choice: NDArray[np.bool_]) -> Array:
    """The most probable theta, shape (d + 2,), from rows x (n, d), values y (n,) and their own variances, doubt (n,).

    The density often has two peaks, one that explains the values and one that takes them for noise: it is climbed from
    both sides.
    """
    rows = pairs(x, is_choice)
    mean, _ = _prior(x.shape[1])
    starts = [np.append(mean[:-1], math.log(noise)) for noise in (0.02, 0.5)]
    bounds = np.column_stack(_bounds(x.shape[1]))
    options = {"maxiter": STEPS, "ftol": 1e-5}
    ends = [minimize(loss, at, (rows, y, doubt), "L-BFGS-B", True, bounds=bounds, options=options) for at in starts]
    theta: Array = min(ends, key=lambda end: float(end.fun)).x
    return theta


def _bounds(d: int) -> tuple[Array, Array]:
    """The least and the greatest theta."""
    mean, _ = _prior(d)
    return np.append(mean[:-1] - 6.0, math.log(SMALLEST_NOISE)), np.append(mean[:-1] + 6.0, math.log(10.0))


@dataclass(frozen=True)
class Posterior:
    """What values say of theta: its density, taken for a normal one around its peak (Laplace's approximation).

    Attributes:
        best: The peak, shape (d + 2,), by `fit`.
        x, y, doubt, is_choice: What it was fitted to.
    """

    best: Array
    x: Array
    y: Array
    doubt: Array
    is_choice: NDArray[np.bool_]

    @cached_property
    def spread(self) -> Array:
        """S, shape (d + 2, d + 2), with S S' the covariance: minus the inverse of the logarithm's curvature there."""
        rows, steps = pairs(self.x, self.is_choice), STEP * np.eye(len(self.best))
        slopes = [[loss(self.best + side * step, rows, self.y, self.doubt)[1] for side in (1, -1)] for step in steps]
        curvature = np.array([up - down for up, down in slopes]) / (2 * STEP)
        _, sd = _prior(self.x.shape[1])
        values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
        spread: Array = vectors / np.sqrt(np.maximum(values, 1.0 / sd.max() ** 2))  # never wider than the widest prior
        return spread

    def draw(self, rng: Generator) -> Array:
        """One that may be true as well, shape (d + 2,); `DRAWN` of the way, since the true density has short tails."""
        low, high = _bounds(len(self.best) - 2)
        return np.clip(self.best + DRAWN * self.spread @ rng.standard_normal(len(self.best)), low, high)


@dataclass(frozen=True)
class Model:
    """What is believed after n observations.

    Attributes:
        x: Shape (n, d).
        is_choice: Shape (d,).
        theta: Shape (d + 2,).
        alpha: Shape (n,), 0 for what is still running.
        factor: L, shape (n, n).
    """

    x: Array
    is_choice: NDArray[np.bool_]
    theta: Array
    alpha: Array
    factor: Array

    @property
    def scales(self) -> Array:
        """Length-scales, shape (d,)."""
        scales: Array = np.exp(self.theta[:-2])
        return scales

    @property
    def noise(self) -> float:
        """Variance of one observation around the truth."""
        return math.exp(self.theta[-1])

    def skill(self, y: Array, counted: NDArray[np.bool_]) -> float:
        """How much of the scatter of y (n,) it foresees, each from all others: 1 for all, 0 or less for nothing.

        Only those that are `counted` (n,) are asked for. What it is set against is their mean without that one.
        Rasmussen and Williams 2006, eq. 5.12.
        """
        n, m = len(y), np.count_nonzero(counted)
        if m < 2:
            return 0.0
        inverse, _ = dpotri(self.factor[:n, :n], lower=1)
        missed = (self.alpha[:n] / np.diag(inverse))[counted]
        missed_by_mean = (y[counted] - y[counted].mean()) * (m / (m - 1))
        total = float(missed_by_mean @ missed_by_mean)
        return 1.0 - float(missed @ missed) / total if total > 0 else 0.0

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free value at rows x (m, d); each of shape (m,)."""
        w, signal = np.exp(-2.0 * self.theta[:-2]), math.exp(self.theta[-2])
        k, _ = matern(squared_distances(x, self.x, w, self.is_choice))
        k = signal * k + MEAN_VARIANCE
        v, _ = dtrtrs(self.factor, k.T, lower=1)
        variance = signal + MEAN_VARIANCE - np.einsum("ij,ij->j", v, v)
        return k @ self.alpha, np.sqrt(np.maximum(variance, 1e-12))


def condition(  # noqa: PLR0917
    x: Array, y: Array, doubt: Array, running: Array, is_choice: NDArray[np.bool_], theta: Array
) -> Model:
    """The model that has seen y (n,) at x (n, d), and expects its own mean at the rows that are `running` (p, d).

    A value that is itself a forecast has a variance of its own besides the noise, doubt (n,); 0 for a measured one.

    A value equal to the mean leaves every mean as it was and takes away only what there is to learn there, so the
    fantasies of Ginsbourger et al. 2010 ("kriging believer") come down to p more rows in the covariance.
    """
    both = np.vstack([x, running])
    w, signal, noise = np.exp(-2.0 * theta[:-2]), math.exp(theta[-2]), math.exp(theta[-1])
    k, _ = matern(squared_distances(both, both, w, is_choice))
    cov = signal * k + MEAN_VARIANCE
    cov[np.diag_indices(len(both))] += noise + SMALLEST_NOISE
    n = len(x)
    cov[np.diag_indices(n)] += doubt
    factor, _ = dpotrf(cov, lower=1, clean=1)
    half, _ = dtrtrs(factor[:n, :n], y, lower=1)
    alpha, _ = dtrtrs(factor[:n, :n], half, lower=1, trans=1)
    return Model(both, is_choice, theta, np.concatenate([alpha, np.zeros(len(running))]), factor)
