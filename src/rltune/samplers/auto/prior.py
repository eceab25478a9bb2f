"""Where the user expects the best: around the priors they gave, else the defaults, and with some doubt anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from rltune.samplers.auto.encode import Column, Columns
from rltune.samplers.auto.kernel import Array
from rltune.space import NO_DEFAULT, Categorical, SearchSpace

WIDTH = 0.2  # standard deviation of a number, in the unit interval
DOUBT = 0.7  # how likely a default is to say nothing: what keeps a bad one from costing much
DOUBT_GIVEN = 0.4  # the same of a prior, which says what a default is only taken to say


@dataclass(frozen=True)
class _Belief:
    """Where the best value of one parameter is expected, as a column has it, and how likely that is to say nothing."""

    place: float
    doubt: float


def _belief(column: Column) -> _Belief | None:
    parameter = column.parameter
    if parameter.prior is not NO_DEFAULT:
        return _Belief(column.write(parameter.prior), DOUBT_GIVEN)
    return None if parameter.default is NO_DEFAULT else _Belief(column.write(parameter.default), DOUBT)


def log_prior(columns: Columns) -> Callable[[Array], Array] | None:
    """The logarithm of a density at rows (m, d), shape (m,), 0 on average of a flat one; None without any belief.

    Independent by column: a mixture of flat, with the probability of the doubt, and of a normal density around the
    place, or of that choice itself.
    """
    beliefs = {j: belief for j, each in enumerate(columns.columns.values()) if (belief := _belief(each)) is not None}
    if not beliefs:
        return None

    def density(rows: Array) -> Array:
        total = np.zeros(len(rows))
        for j, belief in beliefs.items():
            if columns.is_choice[j]:
                n = columns.n_choices(j)
                near = np.where(rows[:, j] == belief.place, float(n), 0.0)
            else:
                near = _truncated_normal(rows[:, j], belief.place)
            inactive = rows[:, j] < 0 if columns.is_choice[j] else np.zeros(len(rows), dtype=bool)
            total += np.where(inactive, 0.0, np.log(belief.doubt + (1 - belief.doubt) * near))
        return total

    return density


def drawn_to_priors(space: SearchSpace, unit: Array) -> Array:
    """A point of the unit cube (d,) moved as the priors say: evenly spread points become spread like their densities.

    Numbers go through the inverse of the normal distribution function around the prior, choices are the given one in so
    many cases as it is believed; parameters without a prior stay where they are.
    """
    moved = unit.copy()
    for j, parameter in enumerate(space.parameters.values()):
        if parameter.prior is NO_DEFAULT:
            continue
        place = parameter.to_unit(parameter.prior)  # type: ignore[arg-type]  # of the parameter's own type
        if isinstance(parameter, Categorical):
            moved[j] = place if unit[j] < 1 - DOUBT_GIVEN else (unit[j] - 1 + DOUBT_GIVEN) / DOUBT_GIVEN
        else:
            low, high = ndtr(-place / WIDTH), ndtr((1 - place) / WIDTH)
            moved[j] = np.clip(place + WIDTH * ndtri(low + unit[j] * (high - low)), 0.0, 1.0)
    return moved


def _truncated_normal(places: Array, mean: float) -> Array:
    """The density on the unit interval of a normal one of `WIDTH` around `mean`."""
    root2 = WIDTH * math.sqrt(2)
    mass = 0.5 * (math.erf((1 - mean) / root2) + math.erf(mean / root2))
    peak = 1 / (WIDTH * math.sqrt(2 * math.pi) * mass)
    density: Array = peak * np.exp(-0.5 * ((places - mean) / WIDTH) ** 2)
    return density
