"""What each parameter did to the objective, one parameter at a time.

These are margins over whatever else varied: where a sampler has searched, its favourite values of one parameter come
with its favourite values of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from optuna.trial import TrialState

from rltune.analysis.metric import searched
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.space import SearchSpace
from rltune.space.parameters import Categorical, Parameter
from rltune.space.validation import same
from rltune.types import Cause, Scalar

MOST_BINS = 4
"""A number's values are shown in so many bins at most."""

FEWEST_IN_BIN = 3
"""Values a bin at least, as far as equal values allow."""

FEWEST_TRIALS = 10
"""Below so many values there is no correlation and no best fifth: chance alone gives a correlation of 0.6 there."""

_SAYS_NOTHING = (None, Cause.MISMATCH, Cause.STALLED, Cause.LOST, Cause.INTERRUPTED)
"""Causes of failures that no configuration is to blame for."""


@dataclass(frozen=True)
class Level:
    """The trials in which a parameter was in one range, or was one choice.

    Attributes:
        low, high: The smallest and the largest value that occurred in the bin; of a choice, the choice itself.
        n_trials: Those that ended, whether with a value or not.
        n_values: Those with a value of the objective, feasible or not.
        mean, median: Of these values; None where there is none.
        best: The best feasible one; None where there is none.
        n_pruned: Trials that the pruner ended.
        n_failed: Trials that failed, other than by being lost or interrupted.
    """

    low: Scalar
    high: Scalar
    n_trials: int
    n_values: int
    mean: float | None
    median: float | None
    best: float | None
    n_pruned: int
    n_failed: int


@dataclass(frozen=True)
class Effect:
    """One parameter's effect, over all trials but the finals in which it was active.

    Attributes:
        parameter: Its dotted name.
        is_choice: Whether it is one of given choices; else it is a number.
        conditional: Whether it is active in some configurations only.
        n_values: Trials with a value of the objective.
        levels: By value for numbers, in declared order for choices.
        correlation: Spearman's rank correlation of a number with the objective, from -1 to 1: the metric's own value,
            so that above 0 it grows with the parameter. None for choices, constants, and below `FEWEST_TRIALS`.
        best_fifth: Where the best fifth of the feasible trials lies: the smallest and the largest value of a number,
            or each choice that occurs there. None below `FEWEST_TRIALS`.
        n_best: How many trials that fifth is.
    """

    parameter: str
    is_choice: bool
    conditional: bool
    n_values: int
    levels: tuple[Level, ...]
    correlation: float | None
    best_fifth: tuple[Scalar, ...] | None
    n_best: int


def effects(records: Sequence[TrialRecord], objective: Objective, space: SearchSpace) -> tuple[Effect, ...]:
    """For each parameter in declared order.

    A number's bins hold about equally many trials each, cut where the trials lie and never between equal values; so
    they are the same on a logarithmic scale. With few distinct values each is a bin of its own.

    Args:
        records: Every trial.
        objective: Whose value a record's first one is.
        space: What varied.
    """
    ended = [
        r
        for r in searched(records)
        if r.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (r.state is TrialState.FAIL and r.cause not in _SAYS_NOTHING)
    ]
    return tuple(
        _effect(name, parameter, [r for r in ended if name in r.params], objective)
        for name, parameter in space.parameters.items()
    )


def _effect(name: str, parameter: Parameter, records: Sequence[TrialRecord], objective: Objective) -> Effect:
    groups = _by_choice(name, parameter, records) if isinstance(parameter, Categorical) else _binned(name, records)
    best = _best_fifth(records, objective)
    valued = [r for r in records if _value(r) is not None]
    return Effect(
        parameter=name,
        is_choice=isinstance(parameter, Categorical),
        conditional=parameter.when is not None,
        n_values=len(valued),
        levels=tuple(_level(low, high, group, objective) for low, high, group in groups),
        correlation=None if isinstance(parameter, Categorical) else _correlation(name, valued),
        best_fifth=_where(name, parameter, best) if best else None,
        n_best=len(best),
    )


Group = tuple[Scalar, Scalar, list[TrialRecord]]


def _by_choice(name: str, parameter: Categorical, records: Sequence[TrialRecord]) -> list[Group]:
    return [(c, c, [r for r in records if same(c, r.params[name])]) for c in parameter.choices]


def _binned(name: str, records: Sequence[TrialRecord]) -> list[Group]:
    order = sorted(records, key=lambda r: (r.params[name], r.number))
    values = [r.params[name] for r in order]
    distinct = sorted(set(values))
    if len(distinct) <= MOST_BINS:
        return [(v, v, [r for r in order if r.params[name] == v]) for v in distinct]
    n_bins = max(1, min(MOST_BINS, len(order) // FEWEST_IN_BIN))
    cuts = sorted({_next_change(values, round(k * len(order) / n_bins)) for k in range(1, n_bins)} | {len(order)})
    bins = [order[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False) if begin < end]
    return [(group[0].params[name], group[-1].params[name], group) for group in bins]


def _next_change(values: Sequence[float], cut: int) -> int:
    """The first place from `cut` on where equal values are not torn apart."""
    while cut < len(values) and values[cut] == values[cut - 1]:
        cut += 1
    return cut


def _level(low: Scalar, high: Scalar, group: Sequence[TrialRecord], objective: Objective) -> Level:
    values = [v for v in map(_value, group) if v is not None]
    feasible = [v for v in (_value(r) for r in group if r.feasible) if v is not None]
    return Level(
        low=low,
        high=high,
        n_trials=len(group),
        n_values=len(values),
        mean=fmean(values) if values else None,
        median=median(values) if values else None,
        best=objective.best(feasible) if feasible else None,
        n_pruned=sum(r.state is TrialState.PRUNED for r in group),
        n_failed=sum(r.state is TrialState.FAIL for r in group),
    )


def _value(record: TrialRecord) -> float | None:
    return record.value if record.has_result else None


def _correlation(name: str, valued: Sequence[TrialRecord]) -> float | None:
    from scipy.stats import spearmanr

    given, values = [r.params[name] for r in valued], [r.value for r in valued]
    if len(valued) < FEWEST_TRIALS or len(set(given)) < 2 or len(set(values)) < 2:
        return None
    return float(spearmanr(given, values).statistic)


def _best_fifth(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    feasible = [r for r in records if r.feasible and _value(r) is not None]
    if len(feasible) < FEWEST_TRIALS:
        return []
    order = sorted(feasible, key=lambda r: (objective.standing(r.value), r.number))
    return order[: math.ceil(len(order) / 5)]


def _where(name: str, parameter: Parameter, best: Sequence[TrialRecord]) -> tuple[Scalar, ...]:
    values = [r.params[name] for r in best]
    if isinstance(parameter, Categorical):
        return tuple(c for c in parameter.choices if any(same(c, v) for v in values))
    return min(values), max(values)
