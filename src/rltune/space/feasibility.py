"""Whether a space has anything in it, found out before a study starts, and which constraint is to blame.

A region with few combinations is tried whole, so that its verdict is a proof. Any other is tried at its corners and
at random; a region of which 10,000 draws find nothing is refused, since no sampler would get far in it either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from rltune.errors import Problem, SpaceError
from rltune.space.expressions import Expression, NoValueError
from rltune.space.regions import LISTED, Region, Values
from rltune.space.rules import Rule
from rltune.wording import listed

FEW_DRAWS = 200  # enough to come upon a division by zero among a few values
MANY_DRAWS = 10_000


class _Tally:
    """Which rules held for which of the combinations that were tried."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.errors: dict[int, Problem] = {}
        self.held: list[tuple[bool, ...]] = []
        self.all_held = False
        self.was_active: set[str] = set()

    def add(self, values: Mapping[str, Any]) -> None:
        self.was_active.update(values)
        held = tuple(self._check(rule, values) for rule in self.region.rules)
        self.held.append(held)
        self.all_held = self.all_held or all(held)

    def _check(self, rule: Rule, values: Mapping[str, Any]) -> bool:
        try:
            return rule.check(values)
        except SpaceError as error:
            self.errors.setdefault(rule.index, error.problems[0].under("constraints", rule.index))
            return False

    @property
    def is_settled(self) -> bool:
        """Whether more draws would not change the verdict."""
        return bool(self.errors) or (self.all_held and self.was_active >= self.region.parameters.keys())


def region_problems(regions: Iterable[Region]) -> list[Problem]:
    """What makes a region empty, a condition vain or an expression fail."""
    problems: list[Problem] = []
    for region in regions:
        if region.rules or any(parameter.when for parameter in region.parameters.values()):
            try:
                problems += _problems_of(region)
            except SpaceError as error:  # a condition that cannot be computed
                problems += error.problems
    return problems


def _problems_of(region: Region) -> list[Problem]:
    tally = _Tally(region)
    free = Region(region.parameters, (), region.constants)
    exact = region.n_combinations is not None and region.n_combinations <= LISTED
    for values in _all(free) if exact else _some(free):
        tally.add(values)
        if not exact and len(tally.held) > FEW_DRAWS and tally.is_settled:
            break
    tried = f"all {len(tally.held):,} combinations" if exact else f"{len(tally.held):,} draws"
    tried += f" of {listed(region.parameters)} were tried"
    if tally.errors:
        return list(tally.errors.values())
    return _vain_conditions(tally, tried) or _blame(tally, tried)


def _all(region: Region) -> Iterator[Values]:
    return region.parts(lambda parameter: [parameter.value_at(index) for index in range(parameter.n_values or 0)])


def _some(region: Region) -> Iterator[Values]:
    """Both ends of every parameter together, corners at random, then draws from the prior."""
    rng = np.random.default_rng(0)

    def end() -> float:
        return float(rng.integers(2))

    uniforms: list[Callable[[], float]] = [lambda: 0.0, lambda: 1.0, *[end] * 50, *[rng.random] * MANY_DRAWS]
    for uniform in uniforms:
        values = region.draw(uniform, {})
        if values is not None:
            yield values


def _vain_conditions(tally: _Tally, tried: str) -> list[Problem]:
    """Conditions that never held although all that they read had values; a condition on constants may be meant so."""
    problems = []
    for name, parameter in tally.region.parameters.items():
        read = [each for each in (parameter.when.names if parameter.when else ()) if each in tally.region.parameters]
        if name not in tally.was_active and read and tally.was_active.issuperset(read):
            message = f"`{parameter.when}` never holds, so this is never active"
            problems.append(Problem(("search_space", name, "when"), message, tried))
    return problems


def _blame(tally: _Tally, tried: str) -> list[Problem]:
    """The constraint that nothing satisfies, else the pair that nothing satisfies, else all together."""
    if tally.all_held:
        return []
    rules: Sequence[Rule] = tally.region.rules
    never = [rule for place, rule in enumerate(rules) if not any(held[place] for held in tally.held)]
    if never:
        return [_problem(rule, f"no configuration satisfies `{rule.expression}`", tried) for rule in never]
    for (a, first), (b, second) in combinations(enumerate(rules), 2):
        if not any(held[a] and held[b] for held in tally.held):
            message = f"no configuration satisfies both `{first.expression}` and `{second.expression}`"
            return [_problem(second, message, tried)]
    together = listed(rule.expression for rule in rules)
    return [_problem(rules[-1], f"no configuration satisfies all of {together} at once", tried)]


def _problem(rule: Rule, message: str, tried: str) -> Problem:
    return Problem(("constraints", rule.index), message, tried)


def default_problems(defaults: Mapping[str, Any], rules: Iterable[Rule]) -> list[Problem]:
    """The constraints that the defaults break, as far as these are known; constraints on constants alone included."""
    problems = []
    for rule in rules:
        if rule.parameters <= defaults.keys() and not rule.holds(defaults):
            given = ", ".join(f"{name} = {defaults[name]!r}" for name in sorted(rule.parameters))
            message = f"`{rule.expression}` does not hold for the defaults"
            hint = f"{given}; the first trial runs the defaults" if given else "it reads constants only"
            problems.append(Problem(("constraints", rule.index), message, hint))
    return problems


def derived_problems(
    configurations: Iterable[Mapping[str, Any]], formulas: Mapping[str, Expression], constants: Mapping[str, Any]
) -> list[Problem]:
    """The derived values that cannot be computed for one of these configurations."""
    problems: dict[str, Problem] = {}
    for values in configurations if formulas else ():
        everything = {**constants, **values}
        for name, expression in formulas.items():
            try:
                everything[name] = expression.evaluate(everything)
            except NoValueError:
                continue
            except SpaceError as error:
                problems.setdefault(name, error.problems[0].under("derived", name))
    return list(problems.values())
