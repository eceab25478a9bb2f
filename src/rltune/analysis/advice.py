"""Best practice as help from the tool: what is probably not meant in a search space, and what its trials say about it.

`before` looks at the space alone, `after` at what was tried in it: see `rltune.analysis.evidence`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rltune.analysis.early import EarlyRanks, ahead
from rltune.analysis.evidence import (
    FEWEST,
    TRIALS_PER_DIMENSION,
    Edge,
    FailingPart,
    Tried,
    dimensions,
    edges,
    failing_parts,
    idle,
    is_constant,
    readable,
    shown,
    tried,
)
from rltune.objective import Objective
from rltune.records import TrialRecord, effective
from rltune.space import Categorical, Float, Int, Parameter, SearchSpace
from rltune.types import Purpose
from rltune.wording import listed

MOST = 6
"""Pieces of advice at a time; more would not be read."""

_LEARNING_RATE = re.compile(r"(?:^|[._-])(?:lr|learning_?rate)(?:[._-]|$)", re.IGNORECASE)
_WIDTH = re.compile(r"(?:^|[._-])(?:hidden_(?:size|dim)|d_model|n_embd|embed_dim)$", re.IGNORECASE)
_HEADS = re.compile(r"(?:^|[._-])(?:num_(?:attention_)?heads|n_heads?|nhead)$", re.IGNORECASE)
_DRAWS = 200

_SOME_RATIO = 3.0  # of a learning rate's ends: below, a linear scale is as good
_SOME_ORDERS = 100.0  # of other ends
_MANY_CHOICES, _WIDE_RATIO = 6, 10.0  # five batch sizes are a list of choices, as in the guide
_NARROW = 1e-3  # of the larger end: what a trainer does not notice
_MISLEADING, _TELLING = 0.2, 0.6  # Kendall's tau of early values with the final ones
_ENOUGH = 20  # whole trainings, before stopping is missed
_CLEARLY_BETTER = 0.1  # of the way from the median to the best


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    Attributes:
        kind: A word for programs: `linear_scale`, `uneven_heads`, `constant`, `ordered_choices`, `few_trials`, and
            of NeMo RL `unknown_metric`, `no_group`, `long_warmup`; after a study `failures`, `edge`, `budget`,
            `early_values`, `no_effect`.
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
        """The four fields by name."""
        return {"kind": self.kind, "parameter": self.parameter, "message": self.message, "hint": self.hint}


# --- before ----------------------------------------------------------------------------------------------------------


def before(space: SearchSpace, n_search: int, judged: Collection[str] = ()) -> list[Advice]:
    """What is probably not meant in a space that is to be searched with `n_search` trials; the gravest first.

    Args:
        space: What is searched.
        n_search: The trials of the search alone.
        judged: Parameters for which the trainer itself knows how many trials they take.
    """
    tied = {name for rule in space.constraints if "%" in rule.text for name in rule.names}
    advice = [
        *(each for name, p in space.parameters.items() for each in _scale(name, p)),
        *_uneven_heads(space),
        *_too_narrow(space),
        *(each for name, p in space.parameters.items() if name not in tied for each in _ordered_choices(name, p)),
        *_few_trials(space, n_search, judged),
    ]
    return advice[:MOST]


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


def _few_trials(space: SearchSpace, n_search: int, judged: Collection[str]) -> Iterator[Advice]:
    n = dimensions(space, judged)
    wanted = TRIALS_PER_DIMENSION * n
    if space.size is not None:
        wanted = min(wanted, space.size)
    if n_search < wanted:
        message = f"{n_search} search trials are few for {n} parameters that vary"
        hint = f"about {TRIALS_PER_DIMENSION} for each, {wanted} in all, are usual; else fix the least important ones"
        yield Advice("few_trials", None, message, hint)


# --- after -----------------------------------------------------------------------------------------------------------


def after(
    space: SearchSpace,
    records: Sequence[TrialRecord],
    objective: Objective,
    importance: Mapping[str, float] | None = None,
    early: EarlyRanks | None = None,
) -> list[Advice]:
    """What the trials of a study say about its space and its budget; the most useful first, `MOST` at most.

    Args:
        space: What was searched.
        records: Every trial.
        objective: The first.
        importance: Share of the variance by parameter, where it is known; without it no parameter is called idle.
        early: How well early values rank the end, where it is known.
    """
    order = tried(records, objective)
    failing = failing_parts(space, order)
    beyond = {(part.parameter, part.upper) for part in failing}
    at_edge = [e for e in edges(space, order, importance) if (e.parameter, e.upper) not in beyond]
    advice = [
        *(_advice_on_failures(part) for part in failing),
        *(_advice_on_edge(edge, space) for edge in at_edge),
        *_budget(space, records, objective),
        *_stopping(records, early),
        *(_advice_on_idle(name, order, importance or {}) for name in idle(space, order, importance)),
    ]
    return advice[:MOST]


# --- a sentence for each finding -------------------------------------------------------------------------------------


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
    if not FEWEST <= n < wanted:
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


def _stopping(records: Sequence[TrialRecord], early: EarlyRanks | None) -> Iterator[Advice]:
    """Trials were stopped by values that say little, or none was though they say much."""
    if early is None:
        return
    n_stopped = sum(r.stopped_by == "pruner" for r in records)
    first, second, _ = early.taus
    if n_stopped and first is not None and first < _MISLEADING:
        message = (
            f"of two trials that ran to their end, the one that was ahead after a ninth of it ended ahead in only "
            f"{ahead(first)}, and {n_stopped} were stopped early"
        )
        hint = "see whether `pruner: none` finds a better one; `pruner: forecast` stops less where this is so"
        yield Advice("early_values", None, message, hint)
    elif not n_stopped and early.n >= _ENOUGH and second is not None and second > _TELLING:
        message = (
            f"of two trials, the one that was ahead after a third of its training ended ahead in {ahead(second)}, "
            "and none was stopped early"
        )
        yield Advice("early_values", None, message, "`pruner: forecast` would spare compute")


def _advice_on_idle(name: str, order: Sequence[Tried], importance: Mapping[str, float]) -> Advice:
    message = f"`{name}` made no difference in {len(order)} configurations (importance {importance[name]:.2g})"
    return Advice("no_effect", name, message, "leave it at its default and out of the search")
