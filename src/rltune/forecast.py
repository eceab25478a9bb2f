"""What a training will come to, from how it has begun and from how the others of its study went.

Curves are compared at twelve fractions of a training and by their final value, and are taken for draws of one normal
distribution of these thirteen numbers. Most are cut short, and only those that began well were let run on. As whether a
value is missing depends on earlier values alone, the distribution factors into one regression for each fraction on
those before it, from all the trials that got so far (Anderson 1957, "Maximum likelihood estimates for a multivariate
normal distribution when some observations are missing"). Where early values say nothing about the end, the trainings
that have ended show no correlation, and the forecast is wide; nobody has to say so.

Each regression is conjugate, with a prior worth `PRIOR_TRAININGS`: values at fractions u < v of a training correlate by
(u / v) ** `PRIOR_POWER`, about a half between a tenth of a training and its end, and do not rise or fall by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

FRACTIONS: Array = np.array([1 / 27, 2 / 27, 1 / 9, 1 / 6, 2 / 9, 1 / 3, 4 / 9, 5 / 9, 2 / 3, 7 / 9, 8 / 9, 1.0])
"""Of a training, at which curves are compared: dense where there is most to save."""

PRIOR_TRAININGS = 2.0
PRIOR_POWER = 1 / 3
PRIOR_NOISE = 0.03  # of the variance at a fraction: what no other value shares
FURTHEST = 5.0  # standard deviations, where values end to count in proportion


@dataclass(frozen=True)
class Scale:
    """Values of one study on a scale on which they are roughly normal: half their normal score, half linear.

    A loss that saturates has few good values close together and a long tail of bad ones; on its own scale the tail
    would set all variances.

    Attributes:
        values: Rising, shape (k,), with an end on each side beyond what was seen.
        scores: Of these, shape (k,).
    """

    values: Array
    scores: Array

    @classmethod
    def of(cls, values: Array) -> Scale:
        """The scale of finite values, shape (n,), n at least 1."""
        ordered = np.sort(values)
        distinct, first, count = np.unique(ordered, return_index=True, return_counts=True)
        if len(distinct) < 2:
            return cls(distinct[0] + np.array([-1.0, 1.0]), np.array([-1.0, 1.0]))
        normal = ndtri((first + 0.5 * count) / len(ordered))
        low, middle, high = np.quantile(ordered, [0.25, 0.5, 0.75])
        spread = (high - low or distinct[-1] - distinct[0]) / 1.35  # 1.35: of a normal distribution's quartiles
        scores = 0.5 * (normal + np.clip((distinct - middle) / spread, -FURTHEST, FURTHEST))
        tenth = max(1, len(distinct) // 10)
        below = (scores[tenth] - scores[0]) / (distinct[tenth] - distinct[0])
        above = (scores[-1] - scores[-1 - tenth]) / (distinct[-1] - distinct[-1 - tenth])
        return cls(
            np.concatenate([[distinct[0] - FURTHEST / below], distinct, [distinct[-1] + FURTHEST / above]]),
            np.concatenate([[scores[0] - FURTHEST], scores, [scores[-1] + FURTHEST]]),
        )

    def scored(self, values: Array) -> Array:
        """On the scale; NaN stays."""
        return np.where(np.isnan(values), math.nan, np.interp(values, self.values, self.scores))

    def read(self, mean: Array, sd: Array) -> tuple[Array, Array]:
        """Mean and standard deviation in the units of the values, to first order; each of the shape given."""
        low, middle, high = (np.interp(at, self.scores, self.values) for at in (mean - sd, mean, mean + sd))
        return middle, (high - low) / 2


def on_grid(curve: Mapping[int, float], horizon: int) -> Array:
    """A curve at `FRACTIONS` of a training, shape (12,); NaN beyond its last step.

    Each is the mean of what was reported since the fraction before; where that is nothing, the value before, and at the
    beginning the first one.

    Args:
        curve: Values by step; those that are not finite are left out.
        horizon: The last step of a whole training.
    """
    row = np.full(len(FRACTIONS), math.nan)
    known = sorted((step, value) for step, value in curve.items() if math.isfinite(value))
    if not known:
        return row
    steps, values = np.array(known, dtype=float).T
    ends = np.searchsorted(steps, FRACTIONS * horizon * (1 + 1e-9), side="right")
    reached = int(np.count_nonzero(FRACTIONS * horizon <= max(curve) * (1 + 1e-9)))
    begin = 0
    for j in range(reached):
        row[j] = values[begin : ends[j]].mean() if ends[j] > begin else values[max(ends[j] - 1, 0)]
        begin = max(begin, ends[j])
    return row


class Grid:
    """`on_grid` of the curves of one study, which only grow, so each is computed once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int, int], Array] = {}

    def rows(self, curves: Iterable[tuple[int, Mapping[int, float]]], horizon: int) -> Array:
        """Shape (n, 12).

        Args:
            curves: Each trial's number and curve.
            horizon: The last step of a whole training.
        """
        return np.array([self._row(number, curve, horizon) for number, curve in curves]).reshape(-1, len(FRACTIONS))

    def _row(self, number: int, curve: Mapping[int, float], horizon: int) -> Array:
        key = (number, len(curve), horizon)
        if key not in self._rows:
            self._rows[key] = on_grid(curve, horizon)
        return self._rows[key]


@dataclass(frozen=True)
class Forecaster:
    """The distribution of the curves of one study.

    Attributes:
        scale: Of their values.
        mean: At each fraction and of the final value, scored; shape (13,).
        cov: Shape (13, 13).
        weight: How many whole trainings it rests on, those of the prior among them.
    """

    scale: Scale
    mean: Array
    cov: Array
    weight: float

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """What trainings will come to that have begun as rows (n, 12) of `on_grid`.

        Returns:
            Mean and standard deviation of the final value on the scale, each of shape (n,). Of one run: another run of
            the same configuration differs.
        """
        mean = np.full(len(rows), self.mean[-1])
        variance = np.full(len(rows), self.cov[-1, -1])
        reached = np.count_nonzero(~np.isnan(rows), axis=1)
        for j in np.unique(reached[reached > 0]):
            alike = reached == j
            gain = np.linalg.solve(self.cov[:j, :j], self.cov[:j, -1])
            mean[alike] += (self.scale.scored(rows[alike, :j]) - self.mean[:j]) @ gain
            variance[alike] -= self.cov[:j, -1] @ gain
        # A variance that is itself estimated: about the width of Student's t with that many degrees of freedom.
        return mean, np.sqrt(np.maximum(variance, 1e-9) * (1 + 3 / self.weight))


def fit(rows: Array, finals: Array) -> Forecaster | None:
    """The distribution behind the trainings of a study; None while there is nothing to go by.

    Args:
        rows: `on_grid` of each, shape (n, 12). One that has ended before the last step stays where it was.
        finals: Their final values, shape (n,); NaN where a training was cut short.
    """
    ended = ~np.isnan(finals)
    values = np.column_stack([rows, finals])
    for j in range(1, len(FRACTIONS)):
        early = ended & np.isnan(values[:, j])
        values[early, j] = values[early, j - 1]
    values = values[~np.isnan(values[:, 0])]
    if len(values) < 2:
        return None
    scale = Scale.of(values[~np.isnan(values)])
    y = scale.scored(values)
    u = np.append(FRACTIONS, 1.0)
    ratio = np.minimum.outer(u, u) / np.maximum.outer(u, u)
    prior = (1 - PRIOR_NOISE) * ratio**PRIOR_POWER
    np.fill_diagonal(prior, 1.0)
    prior *= max(float(np.nanmean(np.nanvar(y[:, ~np.isnan(y).all(axis=0)], axis=0))), 1e-4)
    m = y.shape[1]
    mean, cov = np.zeros(m), np.zeros((m, m))
    mean[0] = y[:, 0].mean()
    cov[0, 0] = (PRIOR_TRAININGS * prior[0, 0] + ((y[:, 0] - mean[0]) ** 2).sum()) / (PRIOR_TRAININGS + len(y))
    for j in range(1, m):
        there = y[~np.isnan(y[:, j])]
        slopes, variance, mean[j] = _regression(there[:, :j], there[:, j], mean[:j], prior[: j + 1, : j + 1])
        cov[:j, j] = cov[j, :j] = cov[:j, :j] @ slopes
        cov[j, j] = slopes @ cov[:j, j] + variance
    return Forecaster(scale, mean, cov, PRIOR_TRAININGS + float(np.count_nonzero(ended)))


def _regression(x: Array, y: Array, before: Array, prior: Array) -> tuple[Array, float, float]:
    """Of the values at one fraction, y (n,), on those before, x (n, j), whose mean over all trainings is `before` (j,).

    Returns:
        slopes: Shape (j,).
        variance: Of what is left.
        mean: At this fraction, over all trainings.
    """
    # One more training in the middle of these, which stays where it was: until others tell, curves are level.
    middle = x.mean(axis=0) if len(x) else before
    x, y = np.vstack([x, middle]), np.append(y, middle[-1])
    x_mean, y_mean = x.mean(axis=0), float(y.mean())
    x_off: Array = x - x_mean
    y_off: Array = y - y_mean
    j = len(before)
    own, shared = prior[:j, :j], prior[:j, j]
    gram, product = x_off.T @ x_off + PRIOR_TRAININGS * own, x_off.T @ y_off + PRIOR_TRAININGS * shared
    slopes = np.linalg.solve(gram, product).astype(np.float64)
    left = y_off - x_off @ slopes
    told = float(prior[j, j] - 2 * slopes @ shared + slopes @ own @ slopes)
    variance = (float(left @ left) + PRIOR_TRAININGS * told) / (PRIOR_TRAININGS + len(y) - 1)
    return slopes, variance, y_mean + float(slopes @ (before - x_mean))
