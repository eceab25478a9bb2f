"""Iterative refinement: the next study's search space, from what this one's trials say about the present one.

A pure function. Every change rests on a count that is told with it, and on a test by ranks, which hold for any
objective; a parameter about which the trials say nothing stays as it is. Every change is tried on the whole space
first, and taken back where a condition or a constraint would no longer make sense.

A range is narrowed where luck would put the best so close together, or make the others so much worse outside, less
often than 1 time in 20. Both tests look at what was tried, not at the whole range: a sampler that crowds one part of a
range, as they do, is no evidence by itself.

Notation: n configurations were tried with a parameter active, k of them are called the best (a fifth, four at least),
m lie in some range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rltune.analysis import evidence
from rltune.analysis.evidence import Edge, FailingPart, Range, Tried, shown
from rltune.errors import InputError, Problem, SpaceError
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.space import NO_DEFAULT, Categorical, Float, Int, Parameter, SearchSpace

FEWEST_TRIALS = 12
"""Below, the best fifth is two or three configurations, which luck alone puts close together."""

FEWEST_PER_DIMENSION = 4
"""Likewise for many parameters: configurations for each that varies."""

_CHANCE = 0.05
_CHANCE_OF_CHOICE = 0.01
_FEWEST_OF_CHOICE = 4  # two or three bad runs may be bad seeds
_SMALLEST_SHARE = 0.2  # of a range, on its own scale: the best fifth says nothing about less
_HARDLY_NARROWER = 0.9
_FIXED_PER_DIMENSION = 20
_FIXED_IMPORTANCE = 0.01


@dataclass(frozen=True)
class Change:
    """One parameter that the next study should search otherwise.

    Attributes:
        reason: With the numbers that it rests on.
    """

    parameter: str
    before: Parameter
    after: Parameter
    reason: str


@dataclass(frozen=True)
class Refinement:
    """The next study's search space.

    Attributes:
        space: Its defaults are the recommended configuration.
        changes: Ranges and choices that differ, in declared order.
        taken_back: Changes that the rest of the space does not allow, and why.
        n: Configurations that were tried.
        k: How many of them are called the best.
    """

    space: SearchSpace
    changes: tuple[Change, ...]
    taken_back: tuple[Change, ...]
    n: int
    k: int


def refine(
    space: SearchSpace,
    records: Sequence[TrialRecord],
    objective: Objective,
    best: Mapping[str, Any],
    importance: Mapping[str, float] | None = None,
) -> Refinement:
    """What the trials of a study leave of its space, and what they ask for beyond it.

    Args:
        space: What was searched.
        records: Every trial.
        objective: The first.
        best: The recommended configuration: it lies in the new space, and is its default.
        importance: Share of the variance by parameter; without it no parameter is fixed.

    Raises:
        InputError: Too few configurations were tried; the message says how many are needed.
    """
    order = evidence.tried(records, objective)
    _refuse_too_few(space, order)
    ends = {(e.parameter, e.upper): e for e in evidence.edges(space, order, importance)}
    failing = evidence.failing_parts(space, order)
    fixed = _fixed(space, order, importance)
    changes: list[Change] = []
    taken_back: list[Change] = []
    now = _with_defaults(space, best, order)
    for name, before in space.parameters.items():
        values = [t.params[name] for t in order if name in t.params]
        change: Change | None
        if name in fixed and name in best:
            change = _fix(name, before, best[name], len(order), (importance or {})[name])
        elif isinstance(before, Categorical):
            change = _fewer_choices(name, before, values, best.get(name))
        else:
            parts = [part for part in failing if part.parameter == name]
            widening = [ends[name, upper] for upper in (False, True) if (name, upper) in ends]
            change = _other_range(name, before, values, best.get(name), widening=widening, failing=parts)
        if change is None:
            continue
        try:
            now = _replaced(now, name, change.after, values)
            changes.append(change)
        except SpaceError as error:
            taken_back.append(replace(change, reason=str(error.problems[0])))
    return Refinement(now, tuple(changes), tuple(taken_back), len(order), evidence.n_best(len(order)))


def _refuse_too_few(space: SearchSpace, order: Sequence[Tried]) -> None:
    complete = sum(t.value is not None for t in order)
    wanted = max(FEWEST_TRIALS, FEWEST_PER_DIMENSION * evidence.dimensions(space))
    if complete < wanted:
        message = f"{complete} configurations have a value, and at least {wanted} are needed to narrow this space"
        raise InputError([Problem((), message, f"raise `n_trials` by {wanted - complete} or more, and run again")])


# --- the defaults ----------------------------------------------------------------------------------------------------


def _with_defaults(space: SearchSpace, best: Mapping[str, Any], order: Sequence[Tried]) -> SearchSpace:
    """The space with the recommended configuration as its default.

    A parameter that is inactive in it keeps the default it has, or takes the value of the best trial that had one.
    """
    parameters = {}
    for name, parameter in space.parameters.items():
        seen = next((t.params[name] for t in order if name in t.params), parameter.default)
        value = best.get(name, seen if parameter.default is NO_DEFAULT else parameter.default)
        default = value if parameter.contains(value) else parameter.default
        prior = NO_DEFAULT if parameter.prior is NO_DEFAULT else default  # what was found is worth more
        parameters[name] = _with(parameter, default=default, prior=prior)
    return replace(space, parameters=parameters)


def _replaced(space: SearchSpace, name: str, after: Parameter, values: Sequence[Any]) -> SearchSpace:
    """The space with this parameter; a default that is outside now gives way to the best of `values` that is inside.

    Raises:
        SpaceError: The space contradicts itself with this parameter in it.
    """
    before = space.parameters[name]
    default = before.default
    if default is not NO_DEFAULT and not after.contains(default):
        default = next((value for value in values if after.contains(value)), NO_DEFAULT)
    prior = NO_DEFAULT if before.prior is NO_DEFAULT else default
    return replace(space, parameters={**space.parameters, name: _with(after, default=default, prior=prior)})


def _with(parameter: Parameter, **fields: Any) -> Parameter:
    return replace(parameter, **fields)


# --- a range ---------------------------------------------------------------------------------------------------------


class _Bounds(NamedTuple):
    """A range and why; `reasons` is empty where it is the old one."""

    low: float
    high: float
    reasons: tuple[str, ...] = ()


def _other_range(
    name: str,
    before: Range,
    values: Sequence[float],
    best: float | None,
    *,
    widening: Sequence[Edge],
    failing: Sequence[FailingPart],
) -> Change | None:
    """`values` of the configurations that had it, best first; `best` is the recommended one's."""
    if evidence.is_constant(before):
        return None
    if evidence.has_zero(before):
        if 0 in (best, *values[: evidence.n_best(len(values))]):
            return None  # what is good about 0 says nothing about the range above it
        values = [value for value in values if value]
    bounds = _narrowed(before, values, best) or _Bounds(before.low, before.high)
    for part in failing:
        bounds = _without(bounds, part, values, best)
    for edge in widening:
        bounds = _beyond(bounds, edge)
    if not bounds.reasons:
        return None
    after = _with(before, low=bounds.low, high=bounds.high, default=NO_DEFAULT, prior=NO_DEFAULT)
    return Change(name, before, after, "; ".join(bounds.reasons))


def _narrowed(before: Range, values: Sequence[float], best: float | None) -> _Bounds | None:
    """The range of the best k, widened by what k draws leave uncovered; None where luck may have put them there."""
    n, k = len(values), evidence.n_best(len(values))
    if n < FEWEST_TRIALS:
        return None
    low, high = min(values[:k]), max(values[:k])
    new_low, new_high = _with_margin(before, low, high, k)
    chance = min(
        chance_of_range(k, sum(low <= value <= high for value in values), n),
        chance_of_worse([not new_low <= value <= new_high for value in values[k:]]),
    )
    if 2 * chance > _CHANCE:  # twice, since the better of two tests is taken (Bonferroni)
        return None
    if best is not None:
        new_low, new_high = min(new_low, best), max(new_high, best)
    new_low, new_high = _readable_range(before, max(new_low, before.low), min(new_high, before.high))
    to_scale = _scale(before)
    if to_scale(new_high) - to_scale(new_low) > _HARDLY_NARROWER * (to_scale(before.high) - to_scale(before.low)):
        return None
    reason = f"the best {k} of {n} lie in {shown(low)} .. {shown(high)} (by luck 1 time in {_times(2 * chance)})"
    return _Bounds(new_low, new_high, (reason,))


def chance_of_range(k: int, m: int, n: int) -> float:
    """The chance that k of n values, drawn at random, lie within m neighbours or fewer in the order of the values.

    Summed over the number w of neighbours from the least to the greatest of the k: there are n - w + 1 places for
    those, and the k - 2 others lie between them. Exact; ties only make it larger.
    """
    if k < 2:
        return 1.0
    ways = sum((n - w + 1) * math.comb(w - 2, k - 2) for w in range(k, m + 1))
    return ways / math.comb(n, k)


def chance_of_worse(outside: Sequence[bool]) -> float:
    """The chance that those outside a range are as much worse than the others as they are, by rank.

    The best k have chosen the range and are not asked again. Wilcoxon's rank sum test (1945), one-sided, by its normal
    approximation; 1 where there are fewer than 4 on a side, for which that does not hold.

    Args:
        outside: Of each configuration, best first, whether it is outside.
    """
    n, m = len(outside), sum(outside)
    if min(m, n - m) < 4:
        return 1.0
    ranks = sum(rank for rank, out in enumerate(outside, 1) if out)
    z = (ranks - m * (n + 1) / 2) / math.sqrt(m * (n - m) * (n + 1) / 12)
    return math.erfc(z / math.sqrt(2)) / 2


def _with_margin(before: Range, low: float, high: float, k: int) -> tuple[float, float]:
    """Further out by width / (k - 1) on each side, on the parameter's own scale.

    The range of k draws from an interval is shorter than it by the factor (k - 1) / (k + 1) on average, half of which
    is missing on each side.
    """
    to_scale, from_scale = _scale(before), math.exp if before.log else float
    a, b = to_scale(low), to_scale(high)
    whole = to_scale(before.high) - to_scale(before.low)
    margin = max((b - a) / (k - 1), (_SMALLEST_SHARE * whole - (b - a)) / 2)
    return from_scale(a - margin), from_scale(b + margin)


def _scale(parameter: Range) -> Callable[[float], float]:
    return math.log if parameter.log else float


def _readable_range(before: Range, low: float, high: float) -> tuple[float, float]:
    """Outwards to numbers with few digits, or to the next step, within the range that there was."""
    if before.step is not None:
        step, n = before.step, before.n_values or 1
        first, last = math.floor((low - before.low) / step + 1e-9), math.ceil((high - before.low) / step - 1e-9)
        if isinstance(before, Float) or step > 1:
            return before.value_at(max(first, 0)), before.value_at(min(last, n - 1))
    digits = (_unit(low), _unit(high)) if before.log else (_unit(high - low),) * 2
    rounded = _rounded(low, digits[0], math.floor), _rounded(high, digits[1], math.ceil)
    low, high = max(rounded[0], before.low), min(rounded[1], before.high)
    return (math.floor(low), math.ceil(high)) if isinstance(before, Int) else (low, high)


def _unit(number: float) -> float:
    """Of the second significant digit."""
    return float(10.0 ** (math.floor(math.log10(number)) - 1)) if number > 0 else 1.0


def _rounded(number: float, unit: float, towards: Callable[[float], int]) -> float:
    """To a whole number of units; the nearest one where that is it already, but for an error of the last digit."""
    units = number / unit
    whole = round(units) if abs(units - round(units)) < 1e-9 else towards(units)
    return float(f"{whole * unit:.12g}")


def _without(bounds: _Bounds, part: FailingPart, values: Sequence[float], best: float | None) -> _Bounds:
    """Without the end at which configurations fail; the best ones are never cut off."""
    good = [*values[: evidence.n_best(len(values))], *([] if best is None else [best])]
    assert isinstance(part.bound, int | float)
    how = part.cause.value.replace("_", " ")
    where = f"{'above' if part.upper else 'below'} {shown(part.bound)}"
    reason = f"{part.failed} of {part.n} {where} failed as {how}"
    if part.upper and max(good) <= part.bound:
        return _Bounds(bounds.low, min(bounds.high, part.bound), (*bounds.reasons, reason))
    if not part.upper and min(good) >= part.bound:
        return _Bounds(max(bounds.low, part.bound), bounds.high, (*bounds.reasons, reason))
    return bounds


def _beyond(bounds: _Bounds, edge: Edge) -> _Bounds:
    end = "upper" if edge.upper else "lower"
    at_end = f"the best, {shown(edge.best)}, lies at the {end} end, as do {edge.near} of the best {edge.n_best}"
    reasons = (*bounds.reasons, at_end)
    if edge.upper:
        return _Bounds(bounds.low, edge.wider, reasons)
    return _Bounds(edge.wider, bounds.high, reasons)


# --- choices ---------------------------------------------------------------------------------------------------------


def _fewer_choices(name: str, before: Categorical, values: Sequence[Any], best: Any) -> Change | None:
    """Without the choices that never did well, where they were tried often enough to say so."""
    n, k = len(values), evidence.n_best(len(values))
    tried = [before.to_unit(value) for value in values]
    dropped, reasons = [], []
    for choice in before.choices:
        ranks = [rank for rank, unit in enumerate(tried, 1) if unit == before.to_unit(choice)]
        good = not ranks or ranks[0] <= k or (best is not None and before.to_unit(best) == before.to_unit(choice))
        if (
            not good
            and len(ranks) >= _FEWEST_OF_CHOICE
            and chance_of_no_better(len(ranks), ranks[0], n) * len(before.choices) < _CHANCE_OF_CHOICE
        ):
            dropped.append(before.to_unit(choice))
            reasons.append(f"{shown(choice)} was tried {len(ranks)} times and came {_nth(ranks[0])} of {n} at best")
    if not dropped:
        return None
    left = tuple(choice for choice in before.choices if before.to_unit(choice) not in dropped)
    return Change(name, before, _with(before, choices=left, default=NO_DEFAULT, prior=NO_DEFAULT), "; ".join(reasons))


def chance_of_no_better(m: int, rank: int, n: int) -> float:
    """The chance that m of n configurations, drawn at random, all have this rank or a worse one."""
    return math.comb(n - rank + 1, m) / math.comb(n, m)


# --- a parameter without effect --------------------------------------------------------------------------------------


def _fixed(space: SearchSpace, order: Sequence[Tried], importance: Mapping[str, float] | None) -> set[str]:
    """Those that made no difference, by evidence twice as strong as advice asks for."""
    if importance is None or len(order) < _FIXED_PER_DIMENSION * evidence.dimensions(space):
        return set()
    return {
        name
        for name in evidence.idle(space, order, importance)
        if importance[name] < _FIXED_IMPORTANCE and not evidence.has_zero(space.parameters[name])
    }


def _fix(name: str, before: Parameter, value: Any, n: int, importance: float) -> Change:
    reason = f"made no difference in {n} configurations (importance {importance:.2g})"
    if isinstance(before, Categorical):
        return Change(name, before, _with(before, choices=(value,), default=NO_DEFAULT, prior=NO_DEFAULT), reason)
    return Change(name, before, _with(before, low=value, high=value, default=NO_DEFAULT, prior=NO_DEFAULT), reason)


# --- words -----------------------------------------------------------------------------------------------------------


def _times(chance: float) -> str:
    times = 1 / max(chance, 1e-6)
    return f"{evidence.readable(times, 1):,.0f}" if times < 1e6 else "a million or more"


def _nth(rank: int) -> str:
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
