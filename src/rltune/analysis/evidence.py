"""What the trials of a study say about its search space: ends of ranges, parts that fail, parameters without effect.

Every finding rests on a test that a study without it passes: the chance that luck alone gives the evidence is a few in
a hundred or less. Configurations are ranked (`tried`), best first; tests go by ranks, so that no unit and no outlier
matters. Positions are those of the unit interval, on the parameter's own scale: see `rltune.space.parameters`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.space import Categorical, Float, Int, Parameter, SearchSpace
from rltune.space.validation import TOLERANCE
from rltune.types import BY_CONFIGURATION, Cause, Scalar
from rltune.wording import found

Range: TypeAlias = Float | Int

TRIALS_PER_DIMENSION = 10
"""What a model of the objective needs before it is worth more than luck: the rule of thumb of Loeppky, Sacks and Welch
2009 (Technometrics 51) for Gaussian processes, n = 10 d."""

FEWEST = 12
"""Configurations below which no trial says anything about a range."""

_FRACTION = re.compile(
    r"(?:^|[._-])(?:betas?_?\d?|dropout|momentum|gamma|gae_lambda|lambda|lam|top_?p|ema|tau|prob(?:ability)?|ratio)"
    r"(?:[._-]|$)|dropout|prob",
    re.IGNORECASE,
)
"""Names of what cannot reach 1, or cannot pass it."""

_NEARLY_ONE = 0.99
_EDGE, _OUTER = 0.05, 0.25  # of the unit interval
_FEW_VALUES = 20  # so that one of them is more than `_EDGE`
_TREND_Z = 2.5  # two-sided p = 0.012
_NO_TREND_Z = 1.5
_UNIMPORTANT = 0.02  # share of the variance
_MOSTLY, _RARELY = 0.75, 0.15  # of the configurations in a part of the range, and elsewhere
_UNLIKELY = 0.01


def dimensions(space: SearchSpace, without: Collection[str] = ()) -> int:
    """How many parameters vary at once, at most; conditions and constants are taken into account."""
    rng = np.random.default_rng(0)
    free = {name for name, p in space.parameters.items() if not is_constant(p)} - set(without)
    return max(len(free.intersection(space.sample(rng))) for _ in range(32))


def is_constant(parameter: Parameter) -> bool:
    return parameter.n_values == 1


def has_zero(parameter: Parameter) -> bool:
    """Whether it may be exactly 0, apart from its range on a logarithmic scale."""
    return isinstance(parameter, Float) and parameter.zero is not None


# --- what was tried --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """One configuration, with all its runs.

    Attributes:
        params: The active parameters.
        value: The mean of the first objective over the complete runs; None where there is none.
        cause: Why it has no value, where it is to blame for that itself.
        first: The number of its first trial.
    """

    params: Mapping[str, Any]
    value: float | None
    cause: Cause | None
    first: int


def tried(records: Iterable[TrialRecord], objective: Objective) -> list[Tried]:
    """Every configuration that a study has something to say about, best first.

    Complete ones by their mean, feasible before infeasible; then those that were pruned, by the value they had; then
    those that failed by their own doing. What failed otherwise, runs or waits is left out.
    """
    runs: dict[frozenset[tuple[str, Any]], list[TrialRecord]] = {}
    for record in effective(records):
        judged = record.state in (TrialState.COMPLETE, TrialState.PRUNED) or record.cause in BY_CONFIGURATION
        if judged and record.state.is_finished():
            runs.setdefault(frozenset(record.params.items()), []).append(record)
    rows = sorted(((*_rank(group, objective), group) for group in runs.values()), key=lambda row: row[:2])
    return [_tried(group) for *_, group in rows]


def _rank(runs: Sequence[TrialRecord], objective: Objective) -> tuple[int, tuple[float, float, int]]:
    complete = [r for r in runs if r.has_result]
    pruned = [r for r in runs if r.state is TrialState.PRUNED]
    judged = complete or pruned
    values = [r.value for r in judged if r.value is not None]
    mean = sum(values) / len(values) if values else None
    missed = [max(r.violations.values(), default=0.0) for r in complete]
    missed_at_all, loss = objective.standing(mean, [max(missed, default=0.0)])
    return (0 if complete else 1 if pruned else 2), (missed_at_all, loss, runs[0].number)


def _tried(runs: Sequence[TrialRecord]) -> Tried:
    values = [r.value for r in runs if r.has_result and r.value is not None]
    ended_well = any(r.state is not TrialState.FAIL for r in runs)
    mean = sum(values) / len(values) if values else None
    return Tried(runs[0].params, mean, None if ended_well else runs[-1].cause, runs[0].number)


def n_best(n: int) -> int:
    """How many of `n` configurations are called the best: a fifth, but four at least."""
    return min(n, max(4, math.ceil(n / 5)))


# --- failures in one part of a range ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FailingPart:
    """A part of one parameter's range in which most configurations fail, while few do elsewhere.

    Attributes:
        upper: Whether it is the upper end; None for a choice.
        bound: The end that the range should have, or the choice.
        failed, n: Configurations in that part: those that failed by `cause`, and all.
        failed_elsewhere, n_elsewhere: Likewise for the rest.
        chance: That the failures lie so by luck (Fisher's exact test, one-sided).
    """

    parameter: str
    cause: Cause
    upper: bool | None
    bound: Scalar
    failed: int
    n: int
    failed_elsewhere: int
    n_elsewhere: int
    chance: float


def failing_parts(space: SearchSpace, order: Sequence[Tried]) -> list[FailingPart]:
    """For every cause the one parameter that explains it best, where one does; the clearest first."""
    parts = []
    for cause in BY_CONFIGURATION:
        those = [part for name, p in space.parameters.items() for part in _failing(name, p, order, cause)]
        if those:
            parts.append(min(those, key=lambda part: part.chance))
    return sorted(parts, key=lambda part: part.chance)


def _failing(name: str, parameter: Parameter, order: Sequence[Tried], cause: Cause) -> Iterator[FailingPart]:
    pairs = [(t.params[name], t.cause is cause) for t in order if name in t.params]
    if is_constant(parameter) or len(pairs) < FEWEST:
        return
    if isinstance(parameter, Categorical):
        of = Counter(parameter.to_unit(value) for value, _ in pairs)
        failed = Counter(parameter.to_unit(value) for value, has_failed in pairs if has_failed)
        for choice in parameter.choices:
            at = parameter.to_unit(choice)
            if chance := _chance(failed[at], of[at], failed.total(), len(pairs)):
                yield FailingPart(name, cause, None, choice, *chance)
        return
    if has_zero(parameter):
        pairs = [(value, has_failed) for value, has_failed in pairs if value]
    pairs.sort()
    n, total = len(pairs), sum(has_failed for _, has_failed in pairs)
    failed_below = list(itertools.accumulate(has_failed for _, has_failed in pairs))
    for below, ((lower, _), (higher, _)) in enumerate(itertools.pairwise(pairs), start=1):
        if lower == higher:
            continue
        failures = failed_below[below - 1]
        if chance := _chance(total - failures, n - below, total, n):
            bound = _on_grid(parameter, simplest(lower, higher, near_low=True))
            yield FailingPart(name, cause, True, bound, *chance)
        if chance := _chance(failures, below, total, n):
            bound = _on_grid(parameter, simplest(lower, higher, near_low=False), up=True)
            yield FailingPart(name, cause, False, bound, *chance)


class _Chance(NamedTuple):
    """The last fields of `FailingPart`."""

    failed: int
    n: int
    failed_elsewhere: int
    n_elsewhere: int
    chance: float


def _chance(a: int, n: int, failed: int, total: int) -> _Chance | None:
    """Of `n` of `total` configurations `a` of all `failed` ones are in one part; None where that may be luck."""
    b, m = failed - a, total - n
    if a < 3 or a < _MOSTLY * n or b > _RARELY * m or m < 5:
        return None
    ways = sum(math.comb(n, i) * math.comb(m, a + b - i) for i in range(a, min(n, a + b) + 1))
    chance = ways / math.comb(n + m, a + b)
    return _Chance(a, n, b, m, chance) if chance < _UNLIKELY else None


# --- the best at the edge of a range ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edge:
    """The best configurations of a study lie at one end of a range that can be widened there.

    Attributes:
        bound: The end, and `wider` the one to try.
        near: How many of the best `n_best` lie in the outer quarter.
        best: The best configuration's own value.
    """

    parameter: str
    upper: bool
    bound: float
    wider: float
    near: int
    n_best: int
    n: int
    best: float


def edges(space: SearchSpace, order: Sequence[Tried], importance: Mapping[str, float] | None = None) -> list[Edge]:
    """Ranges whose end cuts the good configurations off.

    The best one lies at the very end, the median of the best fifth in the outer quarter, and results improve towards
    that end over all that was tried (Spearman's rank correlation).
    """
    result: list[Edge] = []
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Categorical) or is_constant(parameter):
            continue
        if importance is not None and importance.get(name, 1.0) < _UNIMPORTANT:
            continue
        values = [t.params[name] for t in order if name in t.params]
        if len(values) >= FEWEST:
            result += _edge(name, parameter, values)
    return result


def _edge(name: str, parameter: Range, values: Sequence[float]) -> Iterator[Edge]:
    """`values` stand in the order of how good they are."""
    k = n_best(len(values))
    for upper in (True,) if has_zero(parameter) else (False, True):
        end = end_of(parameter, upper=upper)
        units = np.array([position(parameter, value) for value in values])
        distance = 1 - units if upper else units
        discrete = parameter.n_values is not None and parameter.n_values <= _FEW_VALUES
        at_end = values[0] == end if discrete else distance[0] <= _EDGE
        outer = max(_OUTER, 0.5 / parameter.n_values) if parameter.n_values else _OUTER
        if at_end and np.median(distance[:k]) <= outer and trend(distance) >= _TREND_Z:
            wider = widened(name, parameter, upper=upper)
            if wider is not None:
                near = int(np.sum(distance[:k] <= outer))
                yield Edge(name, upper, end, wider, near, k, len(values), values[0])


def position(parameter: Range, value: float) -> float:
    """Where in the unit interval a value lies; one outside a range that was changed later lies at its end."""
    inside = value if parameter.contains(value) else min(max(value, parameter.low), parameter.high)
    return parameter.to_unit(inside)  # type: ignore[arg-type]


def trend(positions: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """How surely positions grow from best to worst, in standard deviations: Spearman's rho times sqrt(n - 1)."""
    ranks = _midranks(np.asarray(positions, dtype=float))
    if np.ptp(ranks) == 0:
        return 0.0
    rho = np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]
    return float(rho) * math.sqrt(len(ranks) - 1)


def _midranks(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ranks from 1 on; equal numbers share the mean of theirs."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray[Any, Any] = (last - (counts - 1) / 2)[inverse]
    return ranks


def widened(name: str, parameter: Range, *, upper: bool) -> float | None:
    """The end of a range that is half as long again on its own scale; None where it cannot lie further out.

    A log range grows by a factor of 2 to 10. What is at least 0, or 1 where it counts something, stays so; what is a
    fraction stays at most 1, and one such as a momentum below it.
    """
    start = end_of(parameter, upper=upper)
    end = _natural(name, parameter, _further(parameter, upper=upper), upper=upper)
    if (end <= start) if upper else (end >= start):
        return None
    end = readable(end)
    if parameter.step is None:
        return end
    n = math.floor(abs(end - start) / parameter.step + TOLERANCE)  # so that a new `min` keeps the values that there are
    if n == 0:
        return None
    end = float(f"{start + (n if upper else -n) * parameter.step:.12g}")
    return int(end) if isinstance(parameter, Int) else end


def end_of(parameter: Range, *, upper: bool) -> float:
    """The lowest or the highest value that can be drawn."""
    if not upper:
        return parameter.low
    return parameter.high if parameter.n_values is None else parameter.value_at(parameter.n_values - 1)


def _further(parameter: Range, *, upper: bool) -> float:
    low, high = parameter.low, parameter.high
    if parameter.log:
        factor = min(max(math.sqrt(high / low), 2.0), 10.0)
        return high * factor if upper else low / factor
    return high + (high - low) / 2 if upper else low - (high - low) / 2


def _natural(name: str, parameter: Range, end: float, *, upper: bool) -> float:
    """As far as a parameter of such a range and name can go."""
    low, high = parameter.low, parameter.high
    if not upper:
        if isinstance(parameter, Int):
            return max(end, min(low, 1)) if low >= 0 else end
        return max(end, low / 2) if low >= 0 and not parameter.log else end
    if isinstance(parameter, Int) or not 0 <= low <= high <= 1:
        return end
    if _FRACTION.search(name):
        return min(end, high + (1 - high) / 2) if high < _NEARLY_ONE else high
    return min(end, 1.0)


# --- a parameter without effect --------------------------------------------------------------------------------------


def idle(space: SearchSpace, order: Sequence[Tried], importance: Mapping[str, float] | None) -> list[str]:
    """Parameters that made no difference, where enough was tried to tell.

    Their importance is near 0, results do not improve towards either end (Spearman), and the four quarters of the
    range, or the choices, do not differ (Kruskal and Wallis 1952).
    """
    n = len(order)
    if importance is None or n < max(30, TRIALS_PER_DIMENSION * dimensions(space)):
        return []
    return [
        name
        for name, parameter in space.parameters.items()
        if not is_constant(parameter)
        and importance.get(name, 1.0) < _UNIMPORTANT
        and all(name in t.params for t in order)
        and _makes_no_difference(parameter, [t.params[name] for t in order])
    ]


def _makes_no_difference(parameter: Parameter, values: Sequence[Any]) -> bool:
    if isinstance(parameter, Categorical):
        return not _groups_differ([parameter.to_unit(value) for value in values])
    units = np.array([position(parameter, value) for value in values])
    quarters = np.minimum(_midranks(units) * 4 // (len(units) + 1), 3)
    return abs(trend(units)) < _NO_TREND_Z and not _groups_differ(quarters.tolist())


def _groups_differ(groups: Sequence[float]) -> bool:
    """Whether ranks 1 to n differ between groups by more than luck gives 9 times in 10.

    H is near chi-squared with (groups - 1) degrees of freedom, whose 90 % point lies 1.28 standard deviations above its
    mean, nearly.
    """
    n, ranks = len(groups), np.arange(1, len(groups) + 1)
    members = [np.array(groups) == group for group in sorted(set(groups))]
    h = 12 / (n * (n + 1)) * sum(ranks[m].sum() ** 2 / m.sum() for m in members) - 3 * (n + 1)
    freedom = len(members) - 1
    return bool(h > freedom + 1.28 * math.sqrt(2 * freedom))


# --- numbers ---------------------------------------------------------------------------------------------------------


def readable(value: float, digits: int = 2) -> float:
    """The nearest number of so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def simplest(low: float, high: float, *, near_low: bool) -> float:
    """A number from `low` up to `high` with as few digits as that allows, the one nearer to the end asked for."""
    for digits in range(1, 17):
        for value in _rounded(low if near_low else high, digits):
            if low <= value <= high:
                return value
    return low if near_low else high


def _rounded(value: float, digits: int) -> tuple[float, ...]:
    if value == 0:
        return (0.0,)
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    return tuple(readable(round_(value / unit) * unit, 15) for round_ in (round, math.floor, math.ceil))


def _on_grid(parameter: Range, value: float, *, up: bool = False) -> float:
    if isinstance(parameter, Int):
        return math.ceil(value) if up else math.floor(value)
    return value


def shown(value: Scalar) -> str:
    """As it may stand in a study file."""
    if isinstance(value, bool) or value is None:
        return found(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
