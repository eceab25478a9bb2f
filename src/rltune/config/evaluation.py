"""What is measured, and what makes a trial good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from rltune.config.section import Count, Section, Whole, is_number, problems_of, wrong
from rltune.config.trainer import function_name, with_function_named
from rltune.errors import InputError, Problem
from rltune.evaluation.folds import Folding
from rltune.evaluation.splits import SplitKind
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


class CrossValidationConfig(Section):
    """Each trial is run on every fold, and is worth the mean: `true`, the kind of folds alone, or a mapping.

    Attributes:
        kind: How the data is split, for a function that takes `train_idx` and `val_idx`.
        data: `module:function`, or from Python the function, that returns what is split: X, (X, y), (X, y, groups) or
            the number of samples.
        repeats: The data is split so many times, each time in another way.
        seed: Of the splits, which are the same for every trial; None for the study's.
        race: Whether a configuration that is clearly worse than the best is spared the rest of its folds.
        parallel: How many folds of one trial may run at once.
    """

    kind: SplitKind = "kfold"
    data: Annotated[Any, BeforeValidator(function_name)] = None
    repeats: Count = 1
    seed: Whole | None = None
    race: bool = True
    parallel: Count = 1

    def split(self, n_folds: int, study_seed: int) -> str:
        """`stratified, 5 folds, seed 0, of train:dataset`: the same words for the same folds."""
        again = f" {self.repeats} times" if self.repeats > 1 else ""
        if self.data is None:
            return f"{n_folds} folds{again}, by the trainer"
        seed = study_seed if self.seed is None else self.seed
        named = with_function_named({"data": self.data}, "data")["data"]
        return f"{self.kind}, {n_folds} folds{again}, seed {seed}, of {named}"

    @classmethod
    def normalise(cls, given: Any) -> dict[str, Any]:
        if given is True:
            return {}
        return {"kind": given} if isinstance(given, str) else super().normalise(given)

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        kind, repeats = given.get("kind"), given.get("repeats", 1)
        if kind == "time_series" and repeats != 1:
            yield Problem(("repeats",), "time_series splits in one way only", "remove it")
        if given.get("seed") is not None and given.get("data") is None:
            yield Problem(
                ("seed",), "does nothing: the trainer splits by itself", 'remove it, or name the data: "train:dataset"'
            )
        if kind in get_args(SplitKind) and kind != "kfold" and given.get("data") is None:
            yield Problem(("kind",), f"{kind} needs the data that is split", 'as in data: "train:dataset"')

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return with_function_named(handler(self), "data")


def _cross_validation(value: Any) -> CrossValidationConfig | Literal[False]:
    if value is False:
        return False
    try:
        return CrossValidationConfig.model_validate(value)
    except ValidationError as error:
        raise InputError(problems_of(error)) from None


class EvaluationConfig(Section):
    """What makes a trial good.

    Attributes:
        metric: The metric that is optimised; `primary_metric` is another spelling.
        direction: Where it should go.
        secondary_metrics: Further objectives and their directions. Without a direction they are minimised.
        constraints: Ranges that metrics must keep; a trial that misses one is infeasible, not failed.
        value: Which value of a trial's curve counts. The best, when early stopping ends trials after their best;
            the last otherwise.
        cross_validation: Whether and how each trial is run on every fold, and is worth the mean.
        n_folds: How many folds.
        early_stopping: Whether a trial, or each fold of it, ends when its own curve no longer improves.
        patience: For how many measurements it may fail to. A whole study has `study_patience`, at the top level.
    """

    metric: str = Field(examples=["validation_loss"])
    direction: Direction = Field(examples=["minimize"])
    secondary_metrics: Annotated[dict[str, Direction], BeforeValidator(_secondary)] = Field(default_factory=dict)
    constraints: dict[str, RangeConfig] = Field(default_factory=dict)
    value: Literal["last", "best"] = "last"
    cross_validation: Annotated[Any, BeforeValidator(_cross_validation)] = False  # or a CrossValidationConfig
    n_folds: Annotated[int, Field(ge=2)] = 5
    early_stopping: bool = False
    patience: Count = 10

    def objectives(self) -> list[Objective]:
        """The primary metric's first."""
        secondary = (Objective(metric, direction) for metric, direction in self.secondary_metrics.items())
        return [Objective(self.metric, self.direction), *secondary]

    def folding(self, seed: int, *, one_order: bool = False) -> Folding | None:
        """How a trial is spread over folds; None where it is run once.

        Args:
            seed: The study's.
            one_order: Whether all trials are to have their folds in the same order.
        """
        given: CrossValidationConfig | Literal[False] = self.cross_validation
        if not given:
            return None
        return Folding(
            self.n_folds,
            given.repeats,
            given.parallel,
            given.race,
            split=given.split(self.n_folds, seed),
            one_order=seed if one_order else None,
        )

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
