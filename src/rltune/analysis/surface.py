"""The objective over two parameters, smoothed: what a contour shows.

A local mean of what was measured (Nadaraya 1964, Watson 1964; Gaussian kernel in the unit square), not a model of what
was not: far from every trial there is no value. Other parameters varied too, so it shows where to look, not why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rltune.analysis.effects import FEWEST_TRIALS
from rltune.analysis.metric import searched
from rltune.records import TrialRecord
from rltune.space import Categorical, SearchSpace

CELLS = 40
"""Along each side."""

_BANDWIDTHS = (0.05, 0.08, 0.12, 0.18, 0.27)
_NEAR = 0.1  # of the weight that a trial at the very spot has; below, nobody was near

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """The local mean of the objective on a grid.

    Attributes:
        x, y: The two parameters, the more important first.
        n_trials: Trials with a value that it rests on.
        bandwidth: Of the kernel, as a share of each range: the one of a few that predicts left-out trials best.
        values: `CELLS` rows from the lowest y up, each of `CELLS` cells from the lowest x up, evenly spaced on the
            parameters' scales; None where no trial is near.
    """

    x: str
    y: str
    n_trials: int
    bandwidth: float
    values: tuple[tuple[float | None, ...], ...]


def surface(records: Sequence[TrialRecord], space: SearchSpace, shares: Mapping[str, float]) -> Surface | None:
    """Over the two most important numbers; None where there are not two, or too few trials have a value.

    Args:
        records: Every trial.
        space: What varied.
        shares: Importance by parameter.
    """
    varied = [n for n, p in space.parameters.items() if not isinstance(p, Categorical) and not p.distribution.single()]
    order = sorted((n for n in varied if n in shares), key=lambda n: -shares[n])
    if len(order) < 2:
        return None
    x, y = order[:2]
    valued = [r for r in searched(records) if r.has_result and x in r.params and y in r.params]
    if len(valued) < FEWEST_TRIALS:
        return None
    points = np.array([[space.parameters[n].to_unit(r.params[n]) for n in (x, y)] for r in valued])
    values = np.array([r.value for r in valued], dtype=float)
    apart = _squares(points, points)
    best = min(_BANDWIDTHS, key=lambda h: _left_out_error(apart, values, h))
    centres = (np.arange(CELLS) + 0.5) / CELLS
    grid = np.array([[a, b] for b in centres for a in centres])
    weights = _kernel(_squares(grid, points), best)
    total = weights.sum(axis=1)
    means = (weights @ values) / np.maximum(total, 1e-300)
    cells = [float(mean) if near >= _NEAR else None for mean, near in zip(means, total, strict=True)]
    return Surface(x, y, len(valued), best, tuple(tuple(cells[i : i + CELLS]) for i in range(0, len(cells), CELLS)))


def _squares(at: Points, points: Points) -> Points:
    """Squared distances, one row for each place of `at`, one column for each of `points`."""
    return np.asarray(sum(np.subtract.outer(at[:, axis], points[:, axis]) ** 2 for axis in (0, 1)))


def _kernel(squares: Points, bandwidth: float) -> Points:
    return np.asarray(np.exp(squares * (-0.5 / bandwidth**2)))


def _left_out_error(squares: Points, values: Points, bandwidth: float) -> float:
    """Mean squared error for each trial from all others; a trial without neighbours gets the mean of all."""
    weights = _kernel(squares, bandwidth)
    np.fill_diagonal(weights, 0.0)
    prior = 1e-3  # a little of the overall mean, so that lonely trials count against narrow kernels
    predicted = (weights @ values + prior * values.mean()) / (weights.sum(axis=1) + prior)
    return float(((predicted - values) ** 2).mean())
