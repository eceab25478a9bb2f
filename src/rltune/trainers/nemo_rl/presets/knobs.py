"""How a knob is described: its range or choices around the recipe's own value, and from which budget on it is tuned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rltune.errors import InputError
from rltune.trainers.nemo_rl import names
from rltune.trainers.nemo_rl.constraints import violations
from rltune.trainers.nemo_rl.presets.parts import Frozen, Tuned
from rltune.trainers.nemo_rl.recipe import Recipe

TIERS = (1, 30, 100)
"""From how many trials on the knobs of a tier are tuned; the first tier is 1."""


@dataclass(frozen=True)
class Room:
    """How much can be searched: the tier that the budget allows, and the steps of a run, None for whole epochs."""

    tier: int
    horizon: int | None


@dataclass(frozen=True)
class Knob:
    """What could be tuned.

    Attributes:
        tier: From which on.
        names: Those that only make sense together; mostly one.
        specs: One for each, without its default.
        reason: Why, and the source.
    """

    tier: int
    names: tuple[str, ...]
    specs: tuple[Mapping[str, Any], ...]
    reason: str


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one(tier: int, name: str, spec: Mapping[str, Any], reason: str) -> Knob:
    return Knob(tier, (name,), (spec,), reason)


def ranged(
    recipe: Recipe, name: str, low: float, high: float, *, log: bool = False, zero: float | None = None
) -> dict[str, Any]:
    """A range, stretched where the recipe's own value lies outside.

    Args:
        recipe: The recipe.
        name: What is tuned.
        low: Its lower end.
        high: Its upper end.
        log: Whether it is searched on a logarithmic scale.
        zero: On that scale: the share of configurations in which it is exactly 0.
    """
    today, low, high = value_today(recipe, name), _tidy(low), _tidy(high)
    if isinstance(today, int | float) and not (log and today <= 0):
        low, high = min(low, float(today)), max(high, float(today))
    gate = {} if zero is None else {"zero": zero}
    return {"type": "float", "min": low, "max": high} | ({"log": True} if log else {}) | gate


def chosen_from(recipe: Recipe, name: str, values: Iterable[Any]) -> dict[str, Any]:
    """Choices, the recipe's own among them."""
    today = value_today(recipe, name)
    choices = [today, *(value for value in values if value != today)]
    return {"type": "categorical", "choices": sorted(choices, key=lambda v: (v is None, v))}


def allowed_choices(recipe: Recipe, name: str, values: Iterable[Any]) -> dict[str, Any]:
    """The same, without those with which the recipe breaks a rule of NeMo RL that it keeps today."""
    before = {violation.rule for violation in violations(recipe)}

    def is_allowed(value: Any) -> bool:
        try:
            changed = recipe.with_overrides(names.expand(recipe, {name: value}))
        except InputError:
            return True  # the name has no place here, which is told in its own words
        return all(violation.rule in before for violation in violations(changed))

    return chosen_from(recipe, name, filter(is_allowed, values))


def switched(recipe: Recipe, name: str) -> dict[str, Any]:
    today = value_today(recipe, name)
    return allowed_choices(recipe, name, [not today] if isinstance(today, bool) else [])


def value_today(recipe: Recipe, name: str) -> Any:
    try:
        return names.value_of(recipe, name)
    except InputError:
        return None


def short_text(value: float) -> str:
    """`5e-7`, as one writes it."""
    return f"{value:g}".replace("e-0", "e-")


def _tidy(value: float) -> float:
    """Without the noise of floating point: 5e-07, not 4.9999999999999998e-07."""
    return float(f"{value:.6g}")


def kind_of(recipe: Recipe) -> str:
    return "dapo" if recipe.is_dapo else str(recipe.algorithm)


def sorted_out(recipe: Recipe, knobs: Iterable[Knob], tier: int) -> tuple[tuple[Tuned, ...], list[Frozen]]:
    """What is tuned, and what is not though the algorithm has it."""
    tuned: list[Tuned] = []
    frozen: list[Frozen] = []
    for knob in knobs:
        problems = [str(problem) for name in knob.names for problem in names.problems(recipe, [name])]
        today = {name: None if problems else names.value_of(recipe, name) for name in knob.names}
        if problems:
            why: str | None = problems[0].partition(": ")[2]
        elif any(
            spec["type"] != "categorical" and not is_number(today[name])
            for name, spec in zip(knob.names, knob.specs, strict=True)
        ):
            why = "has no number in the recipe"
        elif any(_is_single(spec) for spec in knob.specs):
            why = "no other value of the usual ones is allowed by this recipe's other settings"
        elif knob.tier > tier:
            why = f"tuned from {TIERS[knob.tier - 1]} trials on"
        else:
            why = None
        if why is not None:
            frozen += [Frozen(name, value, why) for name, value in today.items()]
            continue
        reasons = [knob.reason, *[f"goes with `{knob.names[0]}`"] * (len(knob.names) - 1)]
        specs = zip(knob.names, knob.specs, reasons, strict=True)
        tuned += [Tuned(n, {**spec, "default": _default(spec, today[n])}, reason) for n, spec, reason in specs]
    return tuple(tuned), frozen


def _is_single(spec: Mapping[str, Any]) -> bool:
    return len(spec.get("choices", (0, 1))) < 2


def _default(spec: Mapping[str, Any], today: Any) -> Any:
    return float(today) if spec["type"] == "float" else today
