"""Racing over folds: a configuration that is clearly worse than the best does not pay for the folds it has left.

Racing is old: Maron & Moore 1994 (Hoeffding races); irace (López-Ibáñez et al. 2016) ends configurations by a paired
t-test, among others. Two things differ here. The folds are few and known in number, so the question is not what the
configuration would be worth on infinitely many folds, but whether its mean over all of them can still beat the best.
And two or three differences say little about their own spread, so those of earlier configurations are taken into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rltune.objective import Direction

LEVEL = 0.1
"""A configuration ends when the chance that its mean over all folds beats the best is below this."""

PRIOR_FREEDOM = 4
"""For how many degrees of freedom the spread of earlier configurations counts, against n - 1 of a configuration's own.

As much as five folds; anything from 2 to infinity does about as well.
"""


def hopeless(
    values: Mapping[int, float],
    best: Mapping[int, float],
    n_folds: int,
    direction: Direction,
    spreads: Sequence[float] = (),
) -> bool:
    """Whether a configuration's mean over all folds will most probably not beat the best, to be asked after each fold.

    With n of N folds done, the differences from the best on the same folds have mean d and standard deviation s; over
    all folds their mean will be D. If they are normal with both moments unknown, (d - D) (n N / (N - n))^1/2 / s
    follows Student's t with n - 1 degrees of freedom: the t-test with the correction for a finite population (Cochran
    1977, Sampling Techniques, chapter 2). s² is first shrunk towards the square of the median of `spreads`, which adds
    `PRIOR_FREEDOM` degrees of freedom (the moderated t of Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3). Where the
    probability of a D that beats the best is below `LEVEL`, the configuration is hopeless.

    Measured on 18 tables (benchmarks/README.md): 48 % of the folds run with 5, 32 % with 10; 5.4 % of all improvements
    are stopped, 0.7 % of those beyond their standard error; half the regret of no rule for as many folds as 20
    evaluations have.

    The answer is never true before two folds that both have, nor once all folds are done. Nor where a value is NaN:
    that is a failure, and whoever watches for those knows its cause. An infinitely bad value is hopeless, unless the
    best has one too.

    Args:
        values: Its finished folds, by the fold's index.
        best: The best complete configuration's, by the same indices; a fold that only one of the two has is left out.
        n_folds: How many folds a whole evaluation has, repeats included.
        direction: Where the values should go.
        spreads: `spreads_around` the best. What is not finite is left out; with none, the configuration's own
            differences must do.
    """
    sign = 1.0 if direction == "minimize" else -1.0
    worse = [sign * difference for difference in _differences(values, best)]
    n = len(worse)
    if n < 2 or len(values) >= n_folds:
        return False
    mean = _mean(worse)
    if not math.isfinite(mean):
        return mean == math.inf
    sd, freedom = _moderated(_sd(worse), n - 1, spreads)
    if mean <= 0.0 or sd == 0.0:
        return mean > 0.0
    return _tail(mean * math.sqrt(n * n_folds / (n_folds - n)) / sd, freedom) < LEVEL


def spreads_around(best: Mapping[int, float], others: Iterable[Mapping[int, float]]) -> list[float]:
    """How much each complete configuration's difference from the best varies over folds: standard deviations.

    Args:
        best: The best complete configuration's values, by fold.
        others: The other complete configurations', one mapping each; those with less than two folds in common with the
            best are left out.
    """
    differences = [_differences(values, best) for values in others]
    return [_sd(each) for each in differences if len(each) > 1]


def _differences(values: Mapping[int, float], best: Mapping[int, float]) -> list[float]:
    return [value - best[fold] for fold, value in values.items() if fold in best]


def _moderated(sd: float, freedom: int, spreads: Iterable[float]) -> tuple[float, int]:
    """A standard deviation shrunk towards earlier ones, and its degrees of freedom."""
    known = [spread for spread in spreads if math.isfinite(spread)]
    if not known:
        return sd, freedom
    total = PRIOR_FREEDOM + freedom
    shrunk = math.hypot(math.sqrt(PRIOR_FREEDOM) * median(known), math.sqrt(freedom) * sd)
    return shrunk / math.sqrt(total), total


def _tail(t: float, freedom: int) -> float:
    """P(T > t) of Student's t."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -t))


def _mean(values: Sequence[float]) -> float:
    return sum(value / len(values) for value in values)  # a sum of the largest numbers would be infinite


def _sd(values: Sequence[float]) -> float:
    """With n - 1."""
    mean = _mean(values)
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
