"""What is measured, and what makes a trial good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from rltune.config.section import Count, Section, is_number, wrong
from rltune.errors import Problem
from rltune.objective import Constraint, Direction, Objective
from rltune.wording import found


class RangeConfig(Section):
    """A range that a metric must keep, ends included."""

    min: float | None = None
    max: float | None = None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        low, high = given.get("min"), given.get("max")
        if low is None and high is None:
            yield Problem((), "has neither min nor max", "as in {max: 70e9}")
        elif is_number(low) and is_number(high) and low > high:
            yield Problem(("min",), f"must not be above max, got min {low} and max {high}")


def _secondary(value: Any) -> Any:
    """A list of names, each to be minimised, or directions by name."""
    if isinstance(value, list | tuple):
        for n, name in enumerate(value):
            if not isinstance(name, str):
                raise wrong(f"must be the name of a metric, got {found(name)}", "", n)
            if name in value[:n]:
                raise wrong(f"names {name} twice", "", n)
        return dict.fromkeys(value, "minimize")
    if isinstance(value, Mapping):
        return value
    raise wrong(f"must be a list of metrics, or their directions, got {found(value)}", "as in [training_time]")


class EvaluationConfig(Section):
    """What makes a trial good.

    Attributes:
        metric: The metric that is optimised; `primary_metric` is another spelling.
        direction: Where it should go.
        secondary_metrics: Further objectives and their directions. Without a direction they are minimised.
        constraints: Ranges that metrics must keep; a trial that misses one is infeasible, not failed.
        value: Which value of a trial's curve counts. The best, when early stopping ends trials after their best;
            the last otherwise.
        cross_validation: Whether each trial is run on every fold, and its value is the mean.
        n_folds: How many folds.
        early_stopping: Whether a trial ends when its own curve no longer improves.
        patience: For how many measurements it may fail to.
    """

    metric: str = Field(examples=["validation_loss"])
    direction: Direction = Field(examples=["minimize"])
    secondary_metrics: Annotated[dict[str, Direction], BeforeValidator(_secondary)] = Field(default_factory=dict)
    constraints: dict[str, RangeConfig] = Field(default_factory=dict)
    value: Literal["last", "best"] = "last"
    cross_validation: bool = False
    n_folds: Annotated[int, Field(ge=2)] = 5
    early_stopping: bool = False
    patience: Count = 10

    def objectives(self) -> list[Objective]:
        """The primary metric's first."""
        secondary = (Objective(metric, direction) for metric, direction in self.secondary_metrics.items())
        return [Objective(self.metric, self.direction), *secondary]

    def ranges(self) -> list[Constraint]:
        return [Constraint(metric, each.min, each.max) for metric, each in self.constraints.items()]

    spellings: ClassVar[Mapping[str, str]] = {"primary_metric": "metric"}

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        fields = super().normalise(given)
        if fields.get("early_stopping") is True:
            fields.setdefault("value", "best")
        return fields

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        metric, secondary = given.get("metric"), given.get("secondary_metrics")
        if isinstance(metric, str) and isinstance(secondary, list | tuple | Mapping) and metric in secondary:
            yield Problem(("secondary_metrics",), f"holds {metric}, which is the primary metric", "remove it")
        for key, switch in (("n_folds", "cross_validation"), ("patience", "early_stopping")):
            if key in given and switch not in given:
                yield Problem((key,), f"does nothing without {switch}", f"add {switch}: true, or remove it")
