"""Rules that end a configuration between folds, each for many races at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rltune.evaluation.race import hopeless

Array = NDArray[np.float64]
Answers = NDArray[np.bool_]


class Race(NamedTuple):
    """A configuration after some folds and the best complete one; one row per race.

    Attributes:
        losses: Of the configuration, in the order in which its folds ran, shape (n_races, n).
        best: Of the best on the same folds, the same shape.
        best_mean: Of the best over all folds, shape (n_races,).
        n_folds: How many folds a whole evaluation has.
        spreads: Standard deviations over folds of the difference between each complete configuration and the best,
            NaN for configurations that are not complete, shape (n_races, n_configurations).
    """

    losses: Array
    best: Array
    best_mean: Array
    n_folds: int
    spreads: Array


Rule: TypeAlias = Callable[[Race], Answers]


def never(race: Race) -> Answers:
    return np.zeros(len(race.losses), dtype=bool)


def running_mean(race: Race) -> Answers:
    return race.losses.mean(axis=1) > race.best_mean


def paired_mean(race: Race) -> Answers:
    return (race.losses - race.best).mean(axis=1) > 0


def wilcoxon(race: Race) -> Answers:
    """Optuna's `WilcoxonPruner` as it comes: p below 0.1, and the running mean not better than the best's."""
    from scipy.stats import rankdata

    worse = race.losses - race.best
    ranks = np.sort(np.sign(worse) * rankdata(np.abs(worse), axis=1), axis=1)
    p = np.array([_signed_rank_p(tuple(row)) for row in ranks.tolist()])
    return (p < 0.1) & (race.losses.mean(axis=1) > race.best_mean)


@cache
def _signed_rank_p(ranks: tuple[float, ...]) -> float:
    """P of `scipy.stats.wilcoxon(differences, alternative="greater", zero_method="zsplit")`.

    The test knows nothing of the differences but their signed ranks, so these stand for them. Where none are tied, and
    for up to 13 of them, it goes through all signs. With ties SciPy does so one by one, for up to a second a test;
    here one rank is added at a time, to the same result.
    """
    from scipy import stats

    sizes = [round(2 * abs(rank)) for rank in ranks if rank]  # ranks of ties are halves
    tied = len(set(sizes)) < len(ranks)
    if tied and len(ranks) > 13:
        return float(stats.wilcoxon(ranks, alternative="greater", zero_method="zsplit").pvalue)
    ways = np.ones(1)
    for size in sizes:
        ways = np.append(ways, np.zeros(size)) + np.append(np.zeros(size), ways)
    observed = round(2 * sum(rank for rank in ranks if rank > 0))
    return float(ways[observed:].sum() / ways.sum())


def paired_t(level: float) -> Rule:
    """Student's one-sided test of the differences so far, as in irace."""

    def rule(race: Race) -> Answers:
        mean, sd, n = _moments(race)
        return _tail(mean * np.sqrt(n), sd, n - 1) < level

    return rule


def predictive_t(level: float) -> Rule:
    """The chance that the mean over all folds is better, both moments being unknown: t with a finite population."""

    def rule(race: Race) -> Answers:
        mean, sd, n = _moments(race)
        return _tail(mean * _root_n(race), sd, n - 1) < level

    return rule


def moderated(level: float, prior: float) -> Rule:
    """The same, the variance shrunk towards the median of earlier configurations (Smyth's moderated t).

    Args:
        prior: How many degrees of freedom the earlier ones count for; infinite means that only they count.
    """

    def rule(race: Race) -> Answers:
        mean, sd, n = _moments(race)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no complete configuration but the best
            typical = np.nanmedian(race.spreads, axis=1)
        weight = np.where(np.isfinite(typical), min(prior, 1e9), 0.0)
        freedom = weight + n - 1
        shrunk = np.sqrt((weight * np.nan_to_num(typical) ** 2 + (n - 1) * sd**2) / freedom)
        return _tail(mean * _root_n(race), shrunk, freedom) < level

    return rule


def ours(race: Race) -> Answers:
    """What rltune does, called as its tuner calls it."""
    answers = []
    for losses, best, spreads in zip(race.losses, race.best, race.spreads, strict=True):
        known = spreads[np.isfinite(spreads)].tolist()
        answers.append(hopeless(dict(enumerate(losses)), dict(enumerate(best)), race.n_folds, "minimize", known))
    return np.array(answers)


def _moments(race: Race) -> tuple[Array, Array, int]:
    worse = race.losses - race.best
    return worse.mean(axis=1), worse.std(axis=1, ddof=1), worse.shape[1]


def _root_n(race: Race) -> float:
    n = race.losses.shape[1]
    return float(np.sqrt(n * race.n_folds / (race.n_folds - n)))


def _tail(effect: Array, sd: Array, freedom: Array | float) -> Array:
    """P(T > effect / sd); 1/2 where all differences are zero."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(stdtr(freedom, -effect / sd), nan=0.5)
