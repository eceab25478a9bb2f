"""A search space cut into regions: sets of parameters that constraints and conditions tie together.

What holds in one region says nothing about another, so a feasible configuration is a feasible part from each. Where
a region has few values, its feasible parts are listed exactly, also when the space as a whole is infinite: of
`hidden_size % num_attention_heads == 0` every pair is known, whatever the learning rate does. Elsewhere parts are
drawn from the prior until one is feasible, which gives the prior under the constraints exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator

from rltune.errors import SpaceError
from rltune.space.parameters import Parameter, probability
from rltune.space.rules import Rule

Values = dict[str, Any]

LISTED = 20_000  # regions with at most so many combinations are listed: 0.1 to 0.3 s
DRAWS = 200_000  # before a draw is given up; a space with fewer than 1 in 10,000 was refused when it was made
KEPT_DRAWS = 5_000  # the same, with values that are decided, where nothing may be feasible
CANDIDATES = 256  # drawn to find the nearest of them
TIE = 1e-12  # squared distances that differ by less are equal


@dataclass(frozen=True)
class Region:
    """Parameters that depend on each other, and the constraints that tie them.

    Attributes:
        parameters: Each after those that its condition reads.
        rules: All constraints on these parameters; none reads a parameter of another region.
        constants: What conditions may read beside parameters.
    """

    parameters: Mapping[str, Parameter]
    rules: tuple[Rule, ...]
    constants: Mapping[str, Any]

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """A condition that reads a parameter without a value does not hold.

        Raises:
            SpaceError: The condition cannot be computed, or gives neither true nor false.
        """
        when = self.parameters[name].when
        if when is None:
            return True
        known = {**self.constants, **values} if self.constants else values
        try:
            return when.names <= known.keys() and when.is_true(known)
        except SpaceError as error:
            raise SpaceError(problem.under("search_space", name, "when") for problem in error.problems) from None

    def violated(self, values: Mapping[str, Any]) -> list[Rule]:
        return [rule for rule in self.rules if not rule.holds(values)]

    @cached_property
    def _rules_due(self) -> list[list[Rule]]:
        """For each parameter in order, the rules that can be judged once it is decided."""
        due: list[list[Rule]] = [[] for _ in self.parameters]
        places = {name: place for place, name in enumerate(self.parameters)}
        for rule in self.rules:
            due[max(places[name] for name in rule.parameters)].append(rule)
        return due

    @cached_property
    def n_combinations(self) -> int | None:
        """An upper bound for the number of distinct parts; None with a continuous parameter."""
        return _product(parameter.n_values for parameter in self.parameters.values())

    @cached_property
    def members(self) -> list[Values] | None:
        """Every feasible part, or None where there are too many combinations to list."""
        if self.n_combinations is None or self.n_combinations > LISTED:
            return None
        return list(self.parts(lambda parameter: [parameter.value_at(i) for i in range(parameter.n_values or 0)]))

    @cached_property
    def _cumulated(self) -> Any:
        """Shape (len(members),): the prior probability of the members up to each one, not normalised."""
        assert self.members is not None
        return np.cumsum(
            [
                math.prod(probability(self.parameters[name], value) for name, value in member.items())
                for member in self.members
            ]
        )

    def parts(self, points: Callable[[Parameter], Sequence[Any]]) -> Iterator[Values]:
        """Every feasible part with values from `points`, without repeats: inactive parameters are absent."""
        names = list(self.parameters)
        values: Values = {}

        def extend(place: int) -> Iterator[Values]:
            if place == len(names):
                yield dict(values)
                return
            name = names[place]
            if not self.is_active(name, values):
                if all(rule.holds(values) for rule in self._rules_due[place]):
                    yield from extend(place + 1)
                return
            for value in points(self.parameters[name]):
                values[name] = value
                if all(rule.holds(values) for rule in self._rules_due[place]):
                    yield from extend(place + 1)
            del values[name]

        return extend(0)

    def draw(self, uniform: Callable[[], float], keep: Mapping[str, Any]) -> Values | None:
        """One part from the prior, or None as soon as a rule fails.

        Args:
            uniform: Gives a number from [0, 1] for each parameter that is drawn.
            keep: Values that are decided.
        """
        values: Values = {}
        for place, (name, parameter) in enumerate(self.parameters.items()):
            if self.is_active(name, values):
                values[name] = keep[name] if name in keep else parameter.from_unit(uniform())
            if not all(rule.holds(values) for rule in self._rules_due[place]):
                return None
        return values

    def sample(self, rng: Generator, keep: Mapping[str, Any]) -> Values | None:
        """One part from the prior under the constraints, with the values of `keep`; None where none was found."""
        kept = {name: value for name, value in keep.items() if name in self.parameters}
        if kept or not self.rules or self.members is None:
            return self._first(rng, kept, KEPT_DRAWS if kept else DRAWS)
        if not self.members:
            return None
        place = int(np.searchsorted(self._cumulated, rng.random() * self._cumulated[-1], side="right"))
        return dict(self.members[min(place, len(self.members) - 1)])

    def _first(self, rng: Generator, keep: Mapping[str, Any], draws: int) -> Values | None:
        return next((part for _ in range(draws) if (part := self.draw(rng.random, keep)) is not None), None)

    def nearest(self, values: Mapping[str, Any], rng: Generator, keep: Mapping[str, Any]) -> Values | None:
        """The feasible part nearest to `values` by Euclidean distance in the unit cube, ties broken by `rng`.

        Exact where the region is listed. Elsewhere the nearest of some draws that keep what no broken rule reads, or
        of some draws of everything. None where none was found.
        """
        candidates, places = self._candidates(values, rng, keep)
        squares = np.sum((places - self._place(values)) ** 2, axis=1)
        order = np.argsort(squares, kind="stable")
        fitting = [int(index) for index in order if _agrees(candidates[index], keep)]
        if not fitting:
            return self.sample(rng, keep)
        closest = [index for index in fitting if squares[index] <= squares[fitting[0]] + TIE]
        return dict(candidates[closest[rng.integers(len(closest))]])

    def _candidates(
        self, values: Mapping[str, Any], rng: Generator, keep: Mapping[str, Any]
    ) -> tuple[list[Values], Any]:
        """Feasible parts, and where each stands in the unit cube: shape (n_parts, n_parameters)."""
        if self.members is not None:
            return self.members, self._places
        broken = {name for rule in self.violated(values) for name in rule.parameters}
        unbroken = {name: value for name, value in values.items() if name not in broken}
        drawn: list[Values] = []
        for kept in ({**unbroken, **keep}, keep):
            drawn = drawn or [part for _ in range(CANDIDATES) if (part := self.draw(rng.random, kept)) is not None]
        return drawn, np.reshape([self._place(part) for part in drawn], (len(drawn), len(self.parameters)))

    @cached_property
    def _places(self) -> Any:
        assert self.members is not None
        return np.reshape([self._place(part) for part in self.members], (len(self.members), len(self.parameters)))

    def _place(self, values: Mapping[str, Any]) -> Any:
        """Shape (len(parameters),): where `values` stand in the unit cube, with 0.5 for what is inactive."""
        return np.array(
            [parameter.to_unit(values[name]) if name in values else 0.5 for name, parameter in self.parameters.items()]
        )


def cut(parameters: Mapping[str, Parameter], rules: Sequence[Rule], constants: Mapping[str, Any]) -> list[Region]:
    """The regions of a space whose `parameters` stand in the order of their conditions."""
    region_of = {name: {name} for name in parameters}

    def tie(names: Sequence[str]) -> None:
        merged = set().union(*(region_of[name] for name in names))
        for name in merged:
            region_of[name] = merged

    for name, parameter in parameters.items():
        tie([name, *(each for each in (parameter.when.names if parameter.when else ()) if each in parameters)])
    for rule in rules:
        if rule.parameters:
            tie(sorted(rule.parameters))
    read = {name for parameter in parameters.values() if parameter.when for name in parameter.when.names}
    used = {name: value for name, value in constants.items() if name in read}
    regions = []
    for names in {id(names): names for names in region_of.values()}.values():
        own = {name: parameter for name, parameter in parameters.items() if name in names}
        tied = tuple(rule for rule in rules if rule.parameters and rule.parameters <= names)
        regions.append(Region(own, tied, used))
    return regions


def _agrees(part: Mapping[str, Any], keep: Mapping[str, Any]) -> bool:
    return all(keep.get(name, value) == value for name, value in part.items())


def _product(counts: Any) -> int | None:
    product = 1
    for count in counts:
        if count is None:
            return None
        product *= count
    return product
