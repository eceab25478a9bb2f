"""The search itself: from what was observed to the next row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rltune.samplers.auto.acquire import Acquisition, Limit
from rltune.samplers.auto.climb import climb
from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.gp import Model, Posterior, condition, fit, one_thread
from rltune.samplers.auto.kernel import Array
from rltune.samplers.auto.observed import Observed, Told
from rltune.samplers.auto.transform import better_half_line, half_ranked

LARGEST = 200  # rows that the model looks at
EARLY = 50  # trials within which one is repeated to see what noise there is
FITS = 32  # that are remembered
DOUBTFUL = 2.0  # standard deviations of all values: a forecast that is less sure says nothing at all
JUDGED = 12  # measured values from which on a model is doubted; fewer say nothing for or against it
BLIND = 0.2  # a model that foresees less of the scatter than this
EVEN = 0.5  # leaves so many of the trials to an even spread
PRIOR_TRIALS = 10.0  # what the prior says weighs a quarter after so many trials


@dataclass
class Search:
    """Proposes rows of one space.

    Attributes:
        columns: What the rows mean.
        log_prior: The logarithm of the user's prior at rows (m, d); None for none.
    """

    columns: Columns
    log_prior: Callable[[Array], Array] | None = None
    _fits: dict[bytes, Posterior] = field(default_factory=dict)  # a function of the rows and values alone

    @one_thread
    def next(
        self, seen: Observed, rng: Generator, kept: Mapping[int, float], allowed: Callable[[Array], bool]
    ) -> Array | None:
        """The most promising row, shape (d,).

        None for one of an even spread: where nothing is left that is allowed and new, and now and then for as long as
        the model foresees next to nothing. Where most of a space is one noisy floor, it would search there for ever.
        """
        single = seen.y.shape[1] == 1
        y = seen.y[:, 0] if single else _scalarised(seen.y, rng)
        measured, begun = np.flatnonzero(seen.doubt == 0), seen.begun
        early = measured[:EARLY]
        if is_exact(seen.x[early], seen.y[early]) is None and len(early) < EARLY and not kept:
            usable = measured[seen.feasible[measured]] if seen.feasible[measured].any() else measured
            best: Array = seen.x[usable[int(np.argmin(y[usable]))]]
            if not _among(best, np.vstack([seen.running, seen.failed])) and allowed(best):
                return best
        n = refitted_at(len(y))
        first = seen.first(n) if single else (seen.x[:n], y[:n], seen.doubt[:n])
        is_doubted = len(measured) >= JUDGED
        chosen, model = self._model(
            (seen.x, y, seen.doubt), first, seen.running, half_ranked, rng if is_doubted else None
        )
        if is_doubted and model.skill(half_ranked(y[chosen]), seen.doubt[chosen] == 0) < BLIND and rng.random() < EVEN:
            return None
        x, feasible = seen.x[chosen], seen.feasible[chosen]
        mean, _ = model.predict(x)
        best_mean = float(mean[feasible].min()) if feasible.any() else None
        order = np.argsort(np.where(feasible, mean, np.inf), kind="stable")
        weight = (PRIOR_TRIALS / (len(y) + PRIOR_TRIALS)) ** 2
        score = Acquisition(model, best_mean, self._limits(seen), self.log_prior, weight)
        return climb(
            score,
            self.columns,
            rng,
            near=x[order[:5]],
            kept=kept,
            allowed=lambda row: not _among(row, begun) and allowed(row),
        )

    def _limits(self, seen: Observed) -> list[Limit]:
        limits = []
        if len(seen.failed):
            finished = seen.x[: seen.n_finished]  # what still runs may fail yet
            x = np.insert(finished, seen.failed_after, seen.failed, axis=0)  # in the order of their numbers
            y = np.insert(np.full(len(finished), -1.0), seen.failed_after, 1.0)
            limits.append(self._limit(x, y, seen.running))
        for missed in seen.violations.values():
            told = ~np.isnan(missed)
            y = missed[told]
            if not (y > 0).any():
                continue
            finite = y[np.isfinite(y)]
            most = max(float(np.abs(finite).max()) if len(finite) else 0.0, 1e-12)
            limits.append(self._limit(seen.x[told], np.clip(y, -most, most) / most, seen.running))
        return limits

    def _limit(self, x: Array, y: Array, running: Array) -> Limit:
        """Of a quantity that is measured, y (n,) at x (n, d), and has to be 0 or less."""
        n, sure = refitted_at(len(y)), np.zeros(len(y))
        return Limit(self._model((x, y, sure), (x[:n], y[:n], sure[:n]), running, np.asarray)[1], 0.0)

    def _model(
        self,
        seen: Told,
        first: Told,
        running: Array,
        transform: Callable[[Array], Array],
        rng: Generator | None = None,
    ) -> tuple[NDArray[np.intp], Model]:
        """Of some of the rows that were seen, and which they are.

        Its theta is fitted to the first rows, whose number grows in steps of a tenth, as they looked when there were no
        more: a fit costs more than a suggestion. With `rng` it is one of those that the values leave possible: the most
        probable one alone is too sure of itself, and where it is wrong it would stay so.
        """
        x, y, doubt = seen
        chosen = choose_rows(x, y)
        shown, variance = _shown(y[chosen], doubt[chosen], transform)
        posterior = self._posterior(first, transform)
        theta = posterior.best if rng is None else posterior.draw(rng)
        return chosen, condition(x[chosen], shown, variance, running, self.columns.is_choice, theta)

    def _posterior(self, first: Told, transform: Callable[[Array], Array]) -> Posterior:
        x, y, doubt = first
        chosen = choose_rows(x, y)
        x, (y, variance) = x[chosen], _shown(y[chosen], doubt[chosen], transform)
        key = hashlib.blake2b(x.tobytes() + y.tobytes() + variance.tobytes(), digest_size=16).digest()
        if key not in self._fits:
            if len(self._fits) >= FITS:
                self._fits.clear()
            told = (x, y, variance, self.columns.is_choice)
            self._fits[key] = Posterior(fit(*told), *told)
        return self._fits[key]


def _shown(y: Array, doubt: Array, transform: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Values (n,) as the model sees them, and the variances that their standard deviations (n,) come to there."""
    shown = transform(y)
    if not doubt.any():
        return shown, doubt
    _, spread = better_half_line(y, shown)
    return shown, np.minimum(doubt / spread, DOUBTFUL) ** 2 if spread > 0 else np.where(doubt > 0, DOUBTFUL**2, 0.0)


def refitted_at(n: int) -> int:
    """The largest number of a sequence that is n or less: every one up to 20, then each a tenth above the last."""
    step = 20
    if n <= step:
        return n
    while (after := math.ceil(step * 1.1)) <= n:
        step = after
    return step


def choose_rows(x: Array, y: Array) -> NDArray[np.intp]:
    """Which of the rows x (n, d) a model is built on; rising.

    All of them, or the best ones and the latest ones. What says the same twice, the same value for the same row, counts
    once: else a model would have to take an objective without noise for smooth, however rugged it is.
    """
    n = len(y)
    if n > LARGEST:
        latest = np.arange(n - LARGEST // 4, n)
        order = np.argsort(y[: latest[0]], kind="stable")
        kept = np.sort(np.concatenate([order[: LARGEST - len(latest)], latest]))
    else:
        kept = np.arange(n)
    _, first = np.unique(np.column_stack([x[kept], y[kept]]), axis=0, return_index=True)
    return np.sort(kept[first])


def _scalarised(y: Array, rng: Generator) -> Array:
    """Several objectives (n, k) as one (n,), by weights that change from trial to trial.

    The augmented Chebyshev sum of Knowles 2006 (ParEGO, IEEE TEC 10), in which every point of a front is the best for
    some weights.
    """
    scaled = np.column_stack([half_ranked(column) for column in y.T])
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    scaled = (scaled - low) / np.where(high > low, high - low, 1.0)
    weighted = rng.dirichlet(np.ones(y.shape[1])) * scaled
    total: Array = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
    return total


def is_exact(x: Array, y: Array) -> bool | None:
    """Whether equal rows of x (n, d) have equal values y (n, k); None where no two are equal."""
    rows, values = len(np.unique(x, axis=0)), len(np.unique(np.column_stack([x, y]), axis=0))
    return None if rows == len(x) else rows == values


def _among(row: Array, rows: Array) -> bool:
    return bool((rows == row).all(axis=1).any())
