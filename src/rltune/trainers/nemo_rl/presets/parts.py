"""What a preset consists of: parameters, other lines of the study file, and what is left alone, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rltune.objective import Objective


@dataclass(frozen=True)
class Tuned:
    """One parameter of the search space.

    Attributes:
        name: One of `names.NAMES`, or a dotted key.
        spec: The parameter as a study file describes it.
        reason: Why it is tuned, and why in this range.
    """

    name: str
    spec: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Setting:
    """One other line of the study file.

    Attributes:
        key: Of the section it belongs to.
        value: What stands there.
        reason: Why.
        on: Whether it holds, or is only proposed: for the user to decide.
    """

    key: str
    value: Any
    reason: str
    on: bool = True


@dataclass(frozen=True)
class Frozen:
    """A knob that is left as it is.

    Attributes:
        name: One of `names.NAMES`, or a dotted key.
        value: What the recipe has; None where it has no place for it.
        reason: Why it is not tuned.
    """

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Preset:
    """A study of one recipe.

    Attributes:
        parameters: What varies; the default of each is the recipe's own value.
        constraints: Expressions that every configuration fulfils; the keys of the settings.
        derived: Values that follow from parameters; `value` is the expression.
        objective: What is optimised.
        why_objective: Why that and nothing else.
        ranges: Ranges that metrics must keep, as `evaluation.constraints` takes them.
        horizon: The steps of a full run; None where the recipe trains whole epochs.
        why_horizon: Where it comes from.
        guards: Each `key` is a guard's name, each `value` its options.
        overrides: Values that every trial gets, by dotted key.
        frozen: What is left as it is.
        noise: What chance alone does to one value of the objective.
        notes: What else a user should know, above all rules of NeMo RL that no constraint can say.
    """

    parameters: tuple[Tuned, ...]
    constraints: tuple[Setting, ...]
    derived: tuple[Setting, ...]
    objective: Objective
    why_objective: str
    ranges: tuple[Setting, ...]
    horizon: int | None
    why_horizon: str
    guards: tuple[Setting, ...]
    overrides: tuple[Setting, ...]
    frozen: tuple[Frozen, ...]
    noise: str
    notes: tuple[str, ...]

    @property
    def search_space(self) -> dict[str, dict[str, Any]]:
        """The parameters as a study file has them."""
        return {each.name: dict(each.spec) for each in self.parameters}
