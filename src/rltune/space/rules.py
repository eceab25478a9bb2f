"""How expressions hang together in one space: the order of conditions and derived values, and the rules to keep.

Everything here is decided from names alone, before any value is drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rltune.errors import Key, Problem, SpaceError
from rltune.space.expressions import Expression, NoValueError
from rltune.space.parameters import Categorical, Parameter
from rltune.wording import did_you_mean, listed


@dataclass(frozen=True)
class Rule:
    """One constraint, with the derived values that it reads.

    Attributes:
        index: Its place among the constraints.
        expression: What must be true.
        derived: The derived values it needs, each after those it needs itself.
        parameters: Every parameter that it depends on, directly or through a derived value.
        constants: Values that never change.
    """

    index: int
    expression: Expression
    derived: Mapping[str, Expression]
    parameters: frozenset[str]
    constants: Mapping[str, Any]

    def check(self, values: Mapping[str, Any]) -> bool:
        """Whether the constraint holds. One that names an inactive parameter does not apply, so it holds.

        Raises:
            SpaceError: It cannot be computed for these values.
        """
        if self.derived or self.constants:
            values = with_derived(values, self.derived, self.constants)
        if not self.expression.names <= values.keys():
            return True
        return self.expression.is_true(values)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """As `check`, but what cannot be computed does not hold."""
        try:
            return self.check(values)
        except SpaceError:
            return False


def with_derived(
    values: Mapping[str, Any], derived: Mapping[str, Expression], constants: Mapping[str, Any]
) -> dict[str, Any]:
    """`values` and constants and derived values; a derived value that needs an inactive parameter is left out.

    Raises:
        SpaceError: A derived value cannot be computed.
    """
    everything = {**constants, **values}
    for name, expression in derived.items():
        try:
            everything[name] = expression.evaluate(everything)
        except NoValueError:
            continue
    return everything


def in_order(needs: Mapping[str, Collection[str]]) -> list[str]:
    """The names such that each comes after those it needs, else as given. What stands on a circle is left out."""
    ordered: list[str] = []
    placed: set[str] = set()
    waiting = list(needs)
    while True:
        ready = [name for name in waiting if all(need in placed or need not in needs for need in needs[name])]
        if not ready:
            return ordered
        ordered += ready
        placed.update(ready)
        waiting = [name for name in waiting if name not in placed]


def make_rules(
    parameters: Collection[str],
    constraints: Iterable[Expression],
    derived: Mapping[str, Expression],
    constants: Mapping[str, Any],
) -> tuple[Rule, ...]:
    """One rule per constraint; `derived` stands in the order of its needs."""
    rules = []
    for index, expression in enumerate(constraints):
        names = _reached(expression.names, derived)
        rules.append(
            Rule(
                index=index,
                expression=expression,
                derived={name: each for name, each in derived.items() if name in names},
                parameters=frozenset(name for name in names if name in parameters),
                constants={name: value for name, value in constants.items() if name in names},
            )
        )
    return tuple(rules)


def _reached(names: Iterable[str], derived: Mapping[str, Expression]) -> set[str]:
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += derived[name].names if name in derived else ()
    return reached


def name_problems(
    parameters: Mapping[str, Parameter | None],
    constraints: Iterable[Expression | None],
    derived: Mapping[str, Expression | None],
    constants: Mapping[str, Any],
) -> list[Problem]:
    """Unknown names, clashes and circles. None stands for what could not be read: its name is known all the same."""
    known = {**constants, **parameters, **derived}
    texts = {
        choice
        for parameter in parameters.values()
        if isinstance(parameter, Categorical)
        for choice in parameter.choices
        if isinstance(choice, str)
    }
    problems: list[Problem] = []

    def check(key: Key, expression: Expression | None, allowed: Collection[str]) -> None:
        for name in sorted(expression.names if expression else ()):
            if name not in allowed:
                problems.append(Problem(key, f"`{expression}`: {_unknown(name, allowed, texts, derived)}"))

    for name, parameter in parameters.items():
        when = parameter.when if parameter else None
        check(("search_space", name, "when"), when, {**constants, **parameters})
    for index, constraint in enumerate(constraints):
        check(("constraints", index), constraint, known)
    for name, expression in derived.items():
        check(("derived", name), expression, known)
        if name in parameters:
            problems.append(Problem(("derived", name), "is also a parameter", "derive it or tune it, not both"))

    conditions = {name: each.when.names if each and each.when else () for name, each in parameters.items()}
    formulas = {name: each.names if each else () for name, each in derived.items()}
    problems += _circles(conditions, ("search_space",), ("when",), "the conditions")
    problems += _circles(formulas, ("derived",), (), "the derived values")
    return problems


def _unknown(name: str, allowed: Collection[str], texts: Collection[str], derived: Collection[str]) -> str:
    if name in texts:
        return f"there is no parameter `{name}` (is it a choice? text goes in quotes: '{name}')"
    if name in derived:
        return f"a condition cannot use the derived value `{name}` (use the parameters it comes from)"
    return f"there is no parameter `{name}` ({did_you_mean(name, allowed)})"


def _circles(needs: Mapping[str, Collection[str]], before: Key, after: Key, what: str) -> Iterable[Problem]:
    stuck = [name for name in needs if name not in in_order(needs)]
    circle = [name for name in stuck if name in _everything_below(name, needs)]
    for name in circle[:1]:
        yield Problem((*before, name, *after), f"{what} of {listed(circle)} need each other in a circle")


def _everything_below(name: str, needs: Mapping[str, Collection[str]]) -> set[str]:
    below: set[str] = set()
    waiting = list(needs[name])
    while waiting:
        each = waiting.pop()
        if each not in below:
            below.add(each)
            waiting += needs.get(each, ())
    return below
