"""The finite grid of a search space: every feasible configuration of its grid points, once each, never built whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from rltune.errors import Problem, SpaceError
from rltune.space.parameters import Float, Parameter
from rltune.space.regions import Region, Values

LARGEST_GRID = 1_000_000


class Grid(Sequence[Values]):
    """A sequence of configurations; number `i` is put together when asked for.

    Each region of the space has its own short list of parts; a configuration takes one of each, and its number is
    written in the mixed radix of their lengths. The parameters stand in declared order, inactive ones are absent.

    Args:
        regions: Of one space.
        names: Its parameters in declared order.
        limit: More points than this are refused, and no region with more combinations is listed.

    Raises:
        SpaceError: A continuous parameter has no points, or there are too many.
    """

    def __init__(self, regions: Sequence[Region], names: Sequence[str], limit: int = LARGEST_GRID) -> None:
        parameters = {name: each for region in regions for name, each in region.parameters.items()}
        _require_points(parameters)
        for region in regions:
            _require_few(estimate([region]), limit, "up to ")  # a region is listed to be counted
        self._names = tuple(names)
        self._parts = [list(region.parts(lambda parameter: parameter.grid_points())) for region in regions]
        _require_few(len(self), limit, "")

    def __len__(self) -> int:
        return math.prod(len(parts) for parts in self._parts)

    @overload
    def __getitem__(self, index: int) -> Values: ...
    @overload
    def __getitem__(self, index: slice) -> list[Values]: ...
    def __getitem__(self, index: int | slice) -> Values | list[Values]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        rest = range(len(self))[index]
        values: Values = {}
        for parts in self._parts:
            rest, digit = divmod(rest, len(parts))
            values.update(parts[digit])
        return {name: values[name] for name in self._names if name in values}

    def __iter__(self) -> Iterator[Values]:
        return (self[index] for index in range(len(self)))

    def number(self, params: Mapping[str, Any]) -> int | None:
        """The number of the configuration with these active parameters; None where it is not on the grid."""
        number, base = 0, 1
        for parts, (names, digits) in zip(self._parts, self._digits, strict=True):
            digit = digits.get(tuple((name, params[name]) for name in names if name in params))
            if digit is None:
                return None
            number, base = number + digit * base, base * len(parts)
        return number

    @cached_property
    def _digits(self) -> list[tuple[list[str], dict[tuple[tuple[str, Any], ...], int]]]:
        """For each region its parameters, and the place of each part in its list."""
        digits = []
        for parts in self._parts:
            names = sorted({name for part in parts for name in part})
            key_of = {tuple((name, part[name]) for name in names if name in part): i for i, part in enumerate(parts)}
            digits.append((names, key_of))
        return digits


def estimate(regions: Sequence[Region]) -> int:
    """An upper bound for the number of grid points, at no cost."""
    return math.prod(each.n_grid_points or 1 for region in regions for each in region.parameters.values())


def _require_points(parameters: Mapping[str, Parameter]) -> None:
    problems = [
        Problem(("search_space", name), "is continuous, so a grid needs to know its points", _points_hint(parameter))
        for name, parameter in parameters.items()
        if parameter.n_grid_points is None
    ]
    if problems:
        raise SpaceError(problems)


def _points_hint(parameter: Parameter) -> str:
    step = " or `step:`" if isinstance(parameter, Float) and not parameter.log else ""
    return f"add `n_points: 5`{step}, or use another sampler"


def _require_few(n: int, limit: int, bound: str) -> None:
    if n > limit:
        message = f"the grid has {bound}{n:,} points, {limit:,} are allowed"
        hint = "give `n_points` or `step` to the parameters with many values, or use `sobol` or `random`"
        raise SpaceError([Problem(("search_space",), message, hint)])
