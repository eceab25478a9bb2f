"""What is optimised: one metric and its direction, ranges that other metrics must keep, and which result is better.

Infeasible is not failed: a trial that misses a constraint has a value, and ranks behind every trial that misses none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from rltune.errors import InputError, Problem
from rltune.wording import nearest

Direction: TypeAlias = Literal["minimize", "maximize"]


class Standing(NamedTuple):
    """How a result ranks: of two, the smaller is the better. Sorts a list of results best first.

    Attributes:
        missed: By how much the constraints are missed, summed; 0 where all hold.
        loss: The value, negated where it is maximised; infinite where there is none.
    """

    missed: float
    loss: float


@dataclass(frozen=True)
class Objective:
    """A metric and where it should go."""

    metric: str
    direction: Direction = "minimize"

    def __post_init__(self) -> None:
        if self.direction not in ("minimize", "maximize"):
            message = f"must be minimize or maximize, got {self.direction!r}"
            raise InputError([Problem(("direction",), message)])

    def value(self, metrics: Mapping[str, float]) -> float:
        """The metric among a trial's results.

        Raises:
            InputError: It is not there; the message says what is.
        """
        return measured(metrics, self.metric)

    def standing(self, value: float | None, violations: Iterable[float] = ()) -> Standing:
        """How a value ranks, with the violations of the constraints beside it; feasible comes first."""
        missed = sum(max(v, 0.0) for v in violations)
        if value is None or math.isnan(value):
            return Standing(missed, math.inf)
        return Standing(missed, value if self.direction == "minimize" else -value)

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; equal is not better, NaN is never better."""
        return self.standing(a) < self.standing(b)

    def best(self, values: Iterable[float]) -> float:
        """The best of a curve; NaN where there is no number in it."""
        numbers = [v for v in values if not math.isnan(v)]
        return min(numbers, key=self.standing, default=math.nan)


@dataclass(frozen=True)
class Constraint:
    """A range that a metric must keep, ends included; None leaves an end open."""

    metric: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise InputError([Problem((self.metric,), "has neither min nor max", "give one or both")])
        if self.min is not None and self.max is not None and not self.min <= self.max:
            raise InputError([Problem((self.metric,), f"min must not be above max, got {self.min} and {self.max}")])

    def violation(self, value: float) -> float:
        """How far a value lies outside the range; inside, the room that is left, negated. NaN lies infinitely far.

        At most 0 where the constraint holds, which is the form that Optuna's samplers read.
        """
        if math.isnan(value):
            return math.inf
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        if low <= value <= high:
            return 0.0 - min((room for room in (value - low, high - value) if math.isfinite(room)), default=0.0)
        return max(low - value, value - high)


def measured(metrics: Mapping[str, float], name: str) -> float:
    """A metric by name.

    Raises:
        InputError: It is not there; the message says what is.
    """
    if name in metrics:
        return metrics[name]
    there = f"there is {', '.join(sorted(metrics))}" if metrics else "there is no metric at all"
    near = nearest(name, metrics)
    hint = f"did you mean `{near}`? {there}" if near else there
    raise InputError([Problem((), f"the metric `{name}` was not measured", hint)])


class OptimizationObjective:
    """The guide's objective: a metric, and ranges that other metrics must keep.

    ::

        objective = OptimizationObjective("validation_loss", constraints={"memory_usage": (None, 70e9)})
        objective.evaluate({"validation_loss": 0.5, "memory_usage": 3e9})  # 0.5

    Args:
        primary_metric: What is optimised.
        constraints: `(lowest, highest)` by metric, ends included; None leaves an end open.
        direction: Where the primary metric should go.
    """

    def __init__(
        self,
        primary_metric: str,
        constraints: Mapping[str, tuple[float | None, float | None]] | None = None,
        direction: Direction = "minimize",
    ) -> None:
        self.primary_metric = primary_metric
        self.constraints = dict(constraints or {})
        self.direction = direction
        self._objective = Objective(primary_metric, direction)
        self._constraints = [Constraint(metric, low, high) for metric, (low, high) in self.constraints.items()]

    def evaluate(self, trial_results: Mapping[str, float]) -> float:
        """The primary metric; where a constraint is missed, the worst value of all: inf, or -inf when maximising.

        Raises:
            InputError: The primary metric or a constrained one is missing; the message says what is there.
        """
        value = self._objective.value(trial_results)
        violations = [c.violation(measured(trial_results, c.metric)) for c in self._constraints]
        if all(v <= 0 for v in violations):
            return value
        return math.inf if self.direction == "minimize" else -math.inf

    def __repr__(self) -> str:
        return f"OptimizationObjective({self.primary_metric!r}, {self.constraints!r}, {self.direction!r})"
