"""Where the user expects the best: around the defaults, and with some doubt anywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.kernel import Array
from rltune.space import NO_DEFAULT

WIDTH = 0.2  # standard deviation of a number, in the unit interval
DOUBT = 0.7  # how likely a default is to say nothing: what keeps a bad one from costing much


def log_prior(columns: Columns) -> Callable[[Array], Array] | None:
    """The logarithm of a density at rows (m, d), shape (m,), 0 on average of a flat one; None without defaults.

    Independent by column: a mixture of flat, with probability `DOUBT`, and of a normal density around the default, or
    of the default choice itself.
    """
    defaults = {
        j: column.write(column.parameter.default)
        for j, column in enumerate(columns.columns.values())
        if column.parameter.default is not NO_DEFAULT
    }
    if not defaults:
        return None

    def density(rows: Array) -> Array:
        total = np.zeros(len(rows))
        for j, place in defaults.items():
            if columns.is_choice[j]:
                n = columns.n_choices(j)
                near = np.where(rows[:, j] == place, float(n), 0.0)
            else:
                near = _truncated_normal(rows[:, j], place)
            inactive = rows[:, j] < 0 if columns.is_choice[j] else np.zeros(len(rows), dtype=bool)
            total += np.where(inactive, 0.0, np.log(DOUBT + (1 - DOUBT) * near))
        return total

    return density


def _truncated_normal(places: Array, mean: float) -> Array:
    """The density on the unit interval of a normal one of `WIDTH` around `mean`."""
    root2 = WIDTH * math.sqrt(2)
    mass = 0.5 * (math.erf((1 - mean) / root2) + math.erf(mean / root2))
    peak = 1 / (WIDTH * math.sqrt(2 * math.pi) * mass)
    density: Array = peak * np.exp(-0.5 * ((places - mean) / WIDTH) ** 2)
    return density
