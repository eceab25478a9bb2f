"""Figures over many runs: means and their intervals, evaluations needed.

The interquartile mean and the bootstrap stratified by problem are those of Agarwal et al. 2021 (NeurIPS 34, arXiv
2108.13264). An interval over seeds says how the same problems would come out again; one over problems and seeds, how
other problems of the kind would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

Array: TypeAlias = NDArray[np.float64]

CAP = 3.0
"""No run's regret counts for more, so that a single unlucky one does not decide a mean."""

N_BOOTSTRAP = 1_000

Statistic: TypeAlias = Callable[[Sequence[Array]], Array]
"""Of runs: an array for each problem, seeds on its last axis; axes before that one are kept."""


def mean(runs: Sequence[Array]) -> Array:
    """Over problems, each the mean over its seeds."""
    return np.asarray(np.mean([each.mean(axis=-1) for each in runs], axis=0))


def iqm(runs: Sequence[Array]) -> Array:
    """Mean of the middle half of all runs."""
    return np.asarray(trim_mean(np.concatenate(list(runs), axis=-1), 0.25, axis=-1))


def ratio(pairs: Sequence[Array]) -> Array:
    """The mean of the first of pairs over that of the second; arrays of shape (..., 2, n_seeds)."""
    means = mean(pairs)
    return means[..., 0] / means[..., 1]


def interval(statistic: Statistic, runs: Sequence[Array], *, problems: bool = False) -> tuple[float, float]:
    """95 % by bootstrap over seeds within each problem; with `problems`, over these as well.

    With `problems`, the statistic must be one of the problems' means over seeds.
    """
    rng = np.random.default_rng(0)
    draws = [_redrawn(each, rng) for each in runs]
    if problems:
        means = np.array([each.mean(axis=-1) for each in draws])
        picked = means[rng.integers(len(runs), size=(len(runs), N_BOOTSTRAP)), np.arange(N_BOOTSTRAP)]
        draws = list(picked[..., None])
    low, high = np.quantile(statistic(draws), [0.025, 0.975])
    return float(low), float(high)


def _redrawn(each: Array, rng: np.random.Generator) -> Array:
    """Seeds with replacement, shape (N_BOOTSTRAP, ..., n_seeds)."""
    n = each.shape[-1]
    return np.moveaxis(each[..., rng.integers(n, size=(N_BOOTSTRAP, n))], -2, 0)


def first_at_most(curve: Array, target: float) -> int | None:
    """Evaluations until a curve over 1, 2 … n evaluations is at `target` or below; None where it never is."""
    reached = np.flatnonzero(curve <= target + 1e-9)  # means of the same runs differ in their last digits
    return int(reached[0]) + 1 if len(reached) else None
