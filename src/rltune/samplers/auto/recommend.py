"""Which configuration to keep: the one with the best posterior mean, not the one with the luckiest run.

Under noise the best of many values is mostly luck. How far values scatter around a smooth shape is learned, but part of
that scatter may be no luck at all: an objective is rougher than a kernel, and a single run of each configuration cannot
tell the two apart. So a configuration's worth is taken for a sum of two,

    y = f(x) + g(x) + noise

with f the Gaussian process, and g independent from one configuration to the next. What g may explain is bounded: where
the scatter is small, most of it is taken for roughness and values are believed; where it is large, for noise. Where
equal configurations have equal values there is no noise, and the best value is the best mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.gp import MEAN_VARIANCE, SMALLEST_NOISE, fit, one_thread
from rltune.samplers.auto.kernel import Array, matern, squared_distances
from rltune.samplers.auto.search import choose_rows, is_exact
from rltune.samplers.auto.transform import better_half_line, half_ranked
from rltune.space import SearchSpace

ROUGHNESS = 0.04  # the most that the variance of g comes to, that of all values being 1: a fifth of their spread


@dataclass(frozen=True)
class Recommendation:
    """What to keep, and what it is worth.

    Attributes:
        index: Among the configurations that were given.
        mean: Its expected value, in the units of the values.
        sd: Standard deviation of that belief; without the noise of another run.
    """

    index: int
    mean: float
    sd: float


def recommend(
    space: SearchSpace,
    configurations: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    direction: Literal["minimize", "maximize"] = "minimize",
) -> Recommendation:
    """The configuration to keep; arguments and errors as for `beliefs`."""
    means, sds = beliefs(space, configurations, values, direction)
    index = int(np.argmin(means) if direction == "minimize" else np.argmax(means))
    return Recommendation(index, float(means[index]), float(sds[index]))


@one_thread
def beliefs(
    space: SearchSpace,
    configurations: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    direction: Literal["minimize", "maximize"] = "minimize",
) -> tuple[Array, Array]:
    """What each configuration is worth: posterior means and standard deviations, in the units of the values.

    Args:
        space: That they lie in.
        configurations: n of them; one that ran more than once stands here as often.
        values: What each run gave, one number a configuration.
        direction: Whether less is better, or more.

    Returns:
        Two arrays of shape (n,).

    Raises:
        ValueError: No values, not as many as configurations, or one that is not finite.
    """
    if not len(values) or len(values) != len(configurations) or not all(map(math.isfinite, values)):
        given = f"{len(configurations)} configurations and {len(values)} values"
        raise ValueError(f"expected one finite value for each configuration, and at least one: got {given}")
    sign = -1.0 if direction == "maximize" else 1.0
    columns = Columns(space)
    x = np.array([columns.write(each) for each in configurations]).reshape(len(values), len(columns))
    y = sign * np.asarray(values, dtype=float)
    if len(y) < 3 or len(columns) == 0 or is_exact(x, y[:, None]):
        return sign * _means_of_equal(x, y), np.zeros(len(y))
    chosen = choose_rows(x, y)
    shown = half_ranked(y[chosen])
    theta = fit(x[chosen], shown, np.zeros(len(chosen)), columns.is_choice)
    mean, sd = _worth(x, chosen, shown, columns.is_choice, theta)
    centre, spread = better_half_line(y[chosen], shown)
    return sign * (centre + spread * mean), spread * sd


def _worth(
    x: Array, chosen: NDArray[np.intp], shown: Array, is_choice: NDArray[np.bool_], theta: Array
) -> tuple[Array, Array]:
    """Posterior mean and standard deviation of f + g at each row of x (n, d), from values (m,) of the chosen ones.

    Rasmussen and Williams 2006, eq. 2.25 and 2.26, with g in the covariance.
    """
    w, signal, scatter = np.exp(-2.0 * theta[:-2]), math.exp(theta[-2]), math.exp(theta[-1])
    rough = scatter * ROUGHNESS / (scatter + ROUGHNESS)
    k, _ = matern(squared_distances(x, x[chosen], w, is_choice))
    cov = signal * k + MEAN_VARIANCE + rough * (x[:, None] == x[chosen]).all(axis=2)
    noise = scatter - rough + SMALLEST_NOISE
    factor = cho_factor(cov[chosen] + noise * np.eye(len(chosen)), lower=True)
    variance = signal + MEAN_VARIANCE + rough - np.einsum("ij,ji->i", cov, cho_solve(factor, cov.T))
    return cov @ cho_solve(factor, shown), np.sqrt(np.maximum(variance, 0.0))


def _means_of_equal(x: Array, y: Array) -> Array:
    """The mean over all rows equal to each row, shape (n,)."""
    return np.array([y[(x == row).all(axis=1)].mean() for row in x])
