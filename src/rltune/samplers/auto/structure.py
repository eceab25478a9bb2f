"""The search space of a study that nobody wrote down: what its trials asked for, and when.

An objective that calls `trial.suggest_float` only for one value of another parameter has a condition, and tells
nobody. It is found again here, so that such a parameter is modelled, and not drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from rltune.space import Categorical, Expression, Float, Int, Parameter, SearchSpace

FEW = 24  # values of a parameter that a condition may read


@dataclass(frozen=True)
class Structure:
    """Parameters as trials have asked for them.

    Attributes:
        distributions: By name, those whose range was always the same.
        conditions: For a parameter that some trials did without: another one, and its values in those that had it.
    """

    distributions: Mapping[str, BaseDistribution]
    conditions: Mapping[str, tuple[str, tuple[Any, ...]]]

    @property
    def space(self) -> SearchSpace:
        """The search space; a choice is called by its index, since Optuna allows objects of any kind.

        Without parameters it has a constant, since no space is empty.
        """
        names = {name: f"p{index}" for index, name in enumerate(self.distributions)}
        return SearchSpace(
            {"constant": Int(0, 0)}
            if not names
            else {
                names[name]: self._parameter(name, distribution, names)
                for name, distribution in self.distributions.items()
            }
        )

    def _parameter(self, name: str, distribution: BaseDistribution, names: Mapping[str, str]) -> Parameter:
        when = None
        if name in self.conditions:
            parent, values = self.conditions[name]
            when = Expression(" or ".join(f"{names[parent]} == {value!r}" for value in values))
        match distribution:
            case FloatDistribution(low=low, high=high, log=log, step=step):
                return Float(low, high, log=log, step=step, when=when)
            case IntDistribution(low=low, high=high, log=log, step=step):
                return Int(low, high, log=log, step=step, when=when)
            case CategoricalDistribution(choices=choices):
                return Categorical(tuple(range(len(choices))), when=when)
        raise TypeError(f"{type(distribution).__name__} is no distribution of Optuna 5")

    def write(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's parameters as values of `space`; others are left out."""
        return {
            f"p{index}": _code(distribution, params[name])
            for index, (name, distribution) in enumerate(self.distributions.items())
            if name in params
        }

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`write` undone."""
        return {
            name: distribution.choices[values[key]]
            if isinstance(distribution, CategoricalDistribution)
            else values[key]
            for index, (name, distribution) in enumerate(self.distributions.items())
            if (key := f"p{index}") in values
        }


def structure(trials: Sequence[FrozenTrial]) -> Structure:
    """What finished trials have in common.

    A parameter has a condition if one other parameter decides it: each value of this one went with it always, or
    never. Parameters that come and go without such a reason, or whose range moves, are left out.
    """
    found: dict[str, BaseDistribution] = {}
    moving: set[str] = set()
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                moving.add(name)
    found = {name: each for name, each in found.items() if name not in moving and not each.single()}
    always = [name for name in found if all(name in trial.params for trial in trials)]
    kept = {name: found[name] for name in always}
    conditions: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for name in found:
        parent = next((each for each in [*always, *conditions] if _values_with(name, each, found, trials)), None)
        if name not in kept and parent is not None:
            kept[name] = found[name]
            conditions[name] = (parent, _values_with(name, parent, found, trials))
    return Structure({name: kept[name] for name in found if name in kept}, conditions)


def _values_with(
    name: str, parent: str, found: Mapping[str, BaseDistribution], trials: Sequence[FrozenTrial]
) -> tuple[Any, ...]:
    """The values of `parent` with which `name` is there; empty where they do not decide it."""
    distribution = found[parent]
    if isinstance(distribution, FloatDistribution):
        return ()
    having = {_code(distribution, t.params[parent]) for t in trials if parent in t.params and name in t.params}
    lacking = {_code(distribution, t.params[parent]) for t in trials if parent in t.params and name not in t.params}
    orphaned = any(name in t.params and parent not in t.params for t in trials)
    return () if orphaned or having & lacking or not lacking or len(having) > FEW else tuple(sorted(having))


def _code(distribution: BaseDistribution, value: Any) -> Any:
    return int(distribution.to_internal_repr(value)) if isinstance(distribution, CategoricalDistribution) else value
