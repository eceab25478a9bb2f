"""Best practice as help from the tool: what is probably not meant in a search space, and what its trials say about it.

`before` looks at the space alone, `after` at what was tried in it. Every piece of advice rests on a test that a study
without the fault passes: the chance that luck alone gives the evidence is a few in a hundred or less.

Configurations are ranked (`tried`), best first; tests go by ranks, so that no unit and no outlier matters.
Positions are those of the unit interval, on the parameter's own scale: see `rltune.space.parameters`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.space import Categorical, Float, Int, Parameter, SearchSpace
from rltune.space.validation import TOLERANCE
from rltune.types import Cause, Purpose, Scalar
from rltune.wording import found, listed

Range: TypeAlias = Float | Int

TRIALS_PER_DIMENSION = 10
"""What a model of the objective needs before it is worth more than luck: the rule of thumb of Loeppky, Sacks and Welch
2009 (Technometrics 51) for Gaussian processes, n = 10 d."""

MOST = 6
"""Pieces of advice at a time; more would not be read."""

_LEARNING_RATE = re.compile(r"(?:^|[._-])(?:lr|learning_?rate)(?:[._-]|$)", re.IGNORECASE)

_FRACTION = re.compile(
    r"(?:^|[._-])(?:betas?_?\d?|dropout|momentum|gamma|gae_lambda|lambda|lam|top_?p|ema|tau|prob(?:ability)?|ratio)"
    r"(?:[._-]|$)|dropout|prob",
    re.IGNORECASE,
)
"""Names of what cannot reach 1, or cannot pass it."""

_WIDTH = re.compile(r"(?:^|[._-])(?:hidden_(?:size|dim)|d_model|n_embd|embed_dim)$", re.IGNORECASE)
_HEADS = re.compile(r"(?:^|[._-])(?:num_(?:attention_)?heads|n_heads?|nhead)$", re.IGNORECASE)
_DRAWS = 200

_TO_BLAME = (Cause.DIVERGED, Cause.COLLAPSED, Cause.OUT_OF_MEMORY, Cause.TIMEOUT)
"""Failures that follow from a configuration; the others say nothing about it."""

_FEWEST = 12
"""Configurations below which no trial says anything about a range."""

_SOME_RATIO = 3.0  # of a learning rate's ends: below, a linear scale is as good
_SOME_ORDERS = 100.0  # of other ends
_MANY_CHOICES, _WIDE_RATIO = 6, 10.0  # five batch sizes are a list of choices, as in the guide
_NARROW = 1e-3  # of the larger end: what a trainer does not notice
_NEARLY_ONE = 0.99
_EDGE, _OUTER = 0.05, 0.25  # of the unit interval
_FEW_VALUES = 20  # so that one of them is more than `_EDGE`
_TREND_Z = 2.5  # two-sided p = 0.012
_NO_TREND_Z = 1.5
_UNIMPORTANT = 0.02  # share of the variance
_MOSTLY, _RARELY = 0.75, 0.15  # of the configurations in a part of the range, and elsewhere
_UNLIKELY = 0.01
_CLEARLY_BETTER = 0.1  # of the way from the median to the best


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    Attributes:
        kind: A word for programs: `linear_scale`, `uneven_heads`, `constant`, `ordered_choices`, `few_trials`; and
            after a study `failures`, `edge`, `budget`, `no_effect`.
        parameter: Its dotted name; None where it is about the study.
        message: What was found, with numbers.
        hint: What to do.
    """

    kind: str
    parameter: str | None
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def to_json(self) -> dict[str, str | None]:
        return {"kind": self.kind, "parameter": self.parameter, "message": self.message, "hint": self.hint}


# --- before ----------------------------------------------------------------------------------------------------------


def before(space: SearchSpace, n_search: int) -> list[Advice]:
    """What is probably not meant in a space that is to be searched with `n_search` trials; the gravest first."""
    advice = [
        *(each for name, p in space.parameters.items() for each in _scale(name, p)),
        *_uneven_heads(space),
        *_too_narrow(space),
        *(each for name, p in space.parameters.items() for each in _ordered_choices(name, p)),
        *_few_trials(space, n_search),
    ]
    return advice[:MOST]


def dimensions(space: SearchSpace) -> int:
    """How many parameters vary at once, at most; conditions and constants are taken into account."""
    rng = np.random.default_rng(0)
    free = {name for name, p in space.parameters.items() if not is_constant(p)}
    return max(len(free.intersection(space.sample(rng))) for _ in range(32))


def is_constant(parameter: Parameter) -> bool:
    return parameter.n_values == 1


def has_zero(parameter: Parameter) -> bool:
    """Whether it may be exactly 0, apart from its range on a logarithmic scale."""
    return isinstance(parameter, Float) and parameter.zero is not None


def _scale(name: str, parameter: Parameter) -> Iterator[Advice]:
    """Nine tenths of the draws from 1e-5 to 1e-2 on a linear scale lie above 1e-3."""
    if isinstance(parameter, Categorical) or parameter.log or is_constant(parameter):
        return
    low, high = parameter.low, parameter.high
    ratio = high / low if low > 0 else math.inf
    if isinstance(parameter, Float) and _LEARNING_RATE.search(name) and ratio > _SOME_RATIO:
        above = "" if low > 0 else " and a `min` above 0"
        message = f"`{name}` looks like a learning rate, but is searched on a linear scale"
        yield Advice("linear_scale", name, message, f"give it `log: true`{above}")
    elif low > 0 and ratio > _SOME_ORDERS:
        stepped = parameter.step is not None and not (isinstance(parameter, Int) and parameter.step == 1)
        message = (
            f"`{name}` spans {math.log10(ratio):.1f} orders of magnitude on a linear scale, where 9 draws in 10 lie in "
            f"its upper 90 %, above {readable((high - low) / 10 + low)}"
        )
        yield Advice("linear_scale", name, message, "give it `log: true`" + (" in place of `step`" if stepped else ""))


def _uneven_heads(space: SearchSpace) -> Iterator[Advice]:
    """Attention heads that cannot share the width evenly: most models refuse to be built then."""
    widths, heads = ([n for n in space.parameters if pattern.search(n)] for pattern in (_WIDTH, _HEADS))
    rng = np.random.default_rng(0)
    draws = [space.sample(rng) for _ in range(_DRAWS)]
    for width, head in itertools.product(widths, heads):
        both = [(draw[width], draw[head]) for draw in draws if width in draw and head in draw]
        uneven = [(w, h) for w, h in both if all(type(n) is int and n > 0 for n in (w, h)) and w % h]
        if uneven:
            (w, h), share = uneven[0], 100 * len(uneven) / len(both)
            message = (
                f"in {share:.0f} % of the configurations `{width}` is no multiple of `{head}`, such as {w} and {h}"
            )
            yield Advice(
                "uneven_heads", head, message, f'if no model has such a shape, constraints: ["{width} % {head} == 0"]'
            )


def _too_narrow(space: SearchSpace) -> Iterator[Advice]:
    constant = [name for name, p in space.parameters.items() if is_constant(p)]
    if constant:
        do = "does" if len(constant) == 1 else "do"
        message = f"{listed(constant)} {do} not vary: there is one value"
        yield Advice("constant", constant[0], message, "widen the range, or leave it if that is meant")
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Float) and not is_constant(parameter):
            width = (parameter.high - parameter.low) / max(abs(parameter.low), abs(parameter.high))
            if width < _NARROW:
                message = f"`{name}` varies by {100 * width:.1g} % only"
                yield Advice("constant", name, message, "widen the range, or take the parameter out of the search")


def _ordered_choices(name: str, parameter: Parameter) -> Iterator[Advice]:
    if not isinstance(parameter, Categorical):
        return
    numbers = [c for c in parameter.choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < max(len(parameter.choices), _MANY_CHOICES) or numbers != sorted(numbers) or numbers[0] <= 0:
        return
    if numbers[-1] / numbers[0] >= _WIDE_RATIO:
        kind = "int" if all(isinstance(c, int) for c in numbers) else "float"
        message = f"`{name}` lists {len(numbers)} numbers as choices, and a sampler does not see that they are ordered"
        hint = f"where values between them work too, write `{{type: {kind}, min: {numbers[0]}, max: {numbers[-1]}"
        yield Advice("ordered_choices", name, message, f"{hint}, log: true}}`")


def _few_trials(space: SearchSpace, n_search: int) -> Iterator[Advice]:
    n = dimensions(space)
    wanted = TRIALS_PER_DIMENSION * n
    if space.size is not None:
        wanted = min(wanted, space.size)
    if n_search < wanted:
        message = f"{n_search} search trials are few for {n} parameters that vary"
        hint = f"about {TRIALS_PER_DIMENSION} for each, {wanted} in all, are usual; else fix the least important ones"
        yield Advice("few_trials", None, message, hint)


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
        judged = record.state in (TrialState.COMPLETE, TrialState.PRUNED) or record.cause in _TO_BLAME
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


# --- after -----------------------------------------------------------------------------------------------------------


def after(
    space: SearchSpace,
    records: Sequence[TrialRecord],
    objective: Objective,
    importance: Mapping[str, float] | None = None,
) -> list[Advice]:
    """What the trials of a study say about its space and its budget; the most useful first, `MOST` at most.

    Args:
        space: What was searched.
        records: Every trial.
        objective: The first.
        importance: Share of the variance by parameter, where it is known; without it no parameter is called idle.
    """
    order = tried(records, objective)
    failing = failing_parts(space, order)
    beyond = {(part.parameter, part.upper) for part in failing}
    at_edge = [e for e in edges(space, order, importance) if (e.parameter, e.upper) not in beyond]
    advice = [
        *(_advice_on_failures(part) for part in failing),
        *(_advice_on_edge(edge, space) for edge in at_edge),
        *_budget(space, records, objective),
        *(_advice_on_idle(name, order, importance or {}) for name in idle(space, order, importance)),
    ]
    return advice[:MOST]


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
    for cause in _TO_BLAME:
        those = [part for name, p in space.parameters.items() for part in _failing(name, p, order, cause)]
        if those:
            parts.append(min(those, key=lambda part: part.chance))
    return sorted(parts, key=lambda part: part.chance)


def _failing(name: str, parameter: Parameter, order: Sequence[Tried], cause: Cause) -> Iterator[FailingPart]:
    pairs = [(t.params[name], t.cause is cause) for t in order if name in t.params]
    if is_constant(parameter) or len(pairs) < _FEWEST:
        return
    if isinstance(parameter, Categorical):
        for choice in parameter.choices:
            inside = [failed for value, failed in pairs if parameter.to_unit(value) == parameter.to_unit(choice)]
            elsewhere = [failed for value, failed in pairs if parameter.to_unit(value) != parameter.to_unit(choice)]
            yield from _judged(name, cause, (None, choice), inside, elsewhere)
        return
    if has_zero(parameter):
        pairs = [(value, failed) for value, failed in pairs if value]
    values = sorted({value for value, _ in pairs})
    for lower, higher in itertools.pairwise(values):
        above = [failed for value, failed in pairs if value >= higher]
        below = [failed for value, failed in pairs if value <= lower]
        bound = _on_grid(parameter, simplest(lower, higher, near_low=True))
        yield from _judged(name, cause, (True, bound), above, below)
        bound = _on_grid(parameter, simplest(lower, higher, near_low=False), up=True)
        yield from _judged(name, cause, (False, bound), below, above)


def _judged(
    name: str, cause: Cause, bound: tuple[bool | None, Scalar], inside: Sequence[bool], elsewhere: Sequence[bool]
) -> Iterator[FailingPart]:
    a, n, b, m = sum(inside), len(inside), sum(elsewhere), len(elsewhere)
    if a < 3 or a < _MOSTLY * n or b > _RARELY * m or m < 5:
        return
    ways = sum(math.comb(n, i) * math.comb(m, a + b - i) for i in range(a, min(n, a + b) + 1))
    chance = ways / math.comb(n + m, a + b)
    if chance < _UNLIKELY:
        yield FailingPart(name, cause, *bound, a, n, b, m, chance)


def _advice_on_failures(part: FailingPart) -> Advice:
    how = part.cause.value.replace("_", " ")
    word = {True: "above", False: "below", None: "="}[part.upper]
    message = (
        f"{part.failed} of {part.n} configurations with `{part.parameter}` {word} {shown(part.bound)} failed as {how}, "
        f"and {part.failed_elsewhere} of the {part.n_elsewhere} others"
    )
    hint = {
        True: f"lower its `max` to {shown(part.bound)}",
        False: f"raise its `min` to {shown(part.bound)}",
        None: "take it off the `choices`",
    }[part.upper]
    return Advice("failures", part.parameter, message, hint)


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
        if len(values) >= _FEWEST:
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


def _advice_on_edge(edge: Edge, space: SearchSpace) -> Advice:
    key, word = ("max", "upper") if edge.upper else ("min", "lower")
    scale = " on its log scale" if space.parameters[edge.parameter].log else ""  # type: ignore[union-attr]
    message = (
        f"the best value of `{edge.parameter}`, {shown(edge.best)}, lies at the {word} end of its range, and so do "
        f"{edge.near} of the best {edge.n_best} of {edge.n} (in the outer quarter{scale})"
    )
    hint = f"try `{key}: {shown(edge.wider)}` in place of {shown(edge.bound)}"
    return Advice("edge", edge.parameter, message, hint)


# --- too small a budget ----------------------------------------------------------------------------------------------


def _budget(space: SearchSpace, records: Sequence[TrialRecord], objective: Objective) -> Iterator[Advice]:
    """The best came late and stands out, in a study that was short for its space."""
    searched = [r for r in effective(records) if r.purpose is Purpose.SEARCH and r.state.is_finished()]
    wanted = TRIALS_PER_DIMENSION * dimensions(space)
    n = len(searched)
    if not _FEWEST <= n < wanted:
        return
    losses = [objective.standing(r.value).loss if r.feasible else math.inf for r in searched]
    early, late = losses[: n * 4 // 5], losses[n * 4 // 5 :]
    typical = float(np.median([x for x in losses if math.isfinite(x)] or [math.inf]))
    best_early, best = min(early), min(late)
    if math.isfinite(best_early) and best_early - best > _CLEARLY_BETTER * (typical - best):
        number = searched[losses.index(best)].number
        message = (
            f"the best of {n} search trials is trial {number}, one of the last {len(late)}, and clearly better than "
            "all before: the search was still improving"
        )
        yield Advice("budget", None, message, f"raise `n_trials`, to about {wanted} for the search, and run again")


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


def _advice_on_idle(name: str, order: Sequence[Tried], importance: Mapping[str, float]) -> Advice:
    message = f"`{name}` made no difference in {len(order)} configurations (importance {importance[name]:.2g})"
    return Advice("no_effect", name, message, "leave it at its default and out of the search")


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
