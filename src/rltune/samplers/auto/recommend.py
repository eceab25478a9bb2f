"""Which configuration to keep: the one with the best posterior mean, not the one with the luckiest run.

Under noise the best of many values is mostly luck. How much of it is luck is learned: from configurations that ran more
than once, and else from how far the values scatter around a smooth shape. Where equal configurations have equal values
there is no luck, and the best value is the best mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.gp import condition, fit, one_thread
from rltune.samplers.auto.kernel import Array
from rltune.samplers.auto.search import choose_rows, is_exact
from rltune.samplers.auto.transform import better_half_line, half_ranked
from rltune.space import SearchSpace


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
    measured = np.zeros(len(chosen))
    theta = fit(x[chosen], shown, measured, columns.is_choice)
    mean, sd = condition(x[chosen], shown, measured, x[:0], columns.is_choice, theta).predict(x)
    centre, spread = better_half_line(y[chosen], shown)
    return sign * (centre + spread * mean), spread * sd


def _means_of_equal(x: Array, y: Array) -> Array:
    """The mean over all rows equal to each row, shape (n,)."""
    return np.array([y[(x == row).all(axis=1)].mean() for row in x])
