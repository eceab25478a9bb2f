"""Configurations as rows of numbers.

A column for each parameter: a number as its place in the unit interval, where the prior is uniform (so a logarithmic
range is even in its logarithm), a choice as its index. What is inactive lies in the middle, or is the choice -1: two
configurations in which it is inactive do not differ there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rltune.samplers.auto.kernel import Array
from rltune.space import Categorical, Parameter, SearchSpace

TABLED = 1000  # a parameter with more values is taken for continuous until it is read

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """One parameter.

    Attributes:
        parameter: Whose values these are.
        places: Where each of its values stands, in rising order; None for a range without steps.
        edges: Between the shares of two neighbours, one less than places.
    """

    parameter: Parameter
    places: Array | None
    edges: Array

    @property
    def is_choice(self) -> bool:
        return isinstance(self.parameter, Categorical)

    def snap(self, column: Array) -> Array:
        """Each number moved to where a value stands."""
        if self.places is None:
            zero = getattr(self.parameter, "zero", None) or 0.0
            return np.where(column < zero, zero / 2, column)
        return self.places[np.searchsorted(self.edges, column, side="right")]

    def write(self, value: Any) -> float:
        if isinstance(self.parameter, Categorical):
            return float(self.parameter.to_unit(value) * self.parameter.n_values - 0.5)
        return float(self.parameter.to_unit(value))

    def read(self, place: float) -> Any:
        if isinstance(self.parameter, Categorical):
            return self.parameter.value_at(int(place))
        return self.parameter.from_unit(min(max(float(place), 0.0), 1.0))


def _column(parameter: Parameter) -> Column:
    n = parameter.n_values
    if isinstance(parameter, Categorical):
        return Column(parameter, np.arange(float(parameter.n_values)), np.arange(1.0, parameter.n_values) - 0.5)
    if n is None or n > TABLED:
        return Column(parameter, None, np.empty(0))
    values = [parameter.value_at(index) for index in range(n)]
    places = np.array([parameter.to_unit(value) for value in values])  # type: ignore[arg-type]
    return Column(parameter, places, (places[1:] + places[:-1]) / 2)


class Columns:
    """The rows of one search space.

    Args:
        space: Its parameters that are constants have no column.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.columns = {name: _column(each) for name, each in space.parameters.items() if each.n_values != 1}
        self.names = list(self.columns)
        self.is_choice: Mask = np.array([each.is_choice for each in self.columns.values()], dtype=bool)
        self.idle = np.where(self.is_choice, -1.0, 0.5)  # of what is inactive
        self._known_activity: dict[bytes, Mask] = {}

    def n_choices(self, j: int) -> int:
        """How many choices a column has."""
        parameter = self.columns[self.names[j]].parameter
        assert isinstance(parameter, Categorical)
        return parameter.n_values

    def __len__(self) -> int:
        return len(self.names)

    def write(self, values: Mapping[str, Any]) -> Array:
        """The row of a configuration, shape (d,)."""
        active = set(self.space.active(values)) if self.space.conditional else values.keys()
        return np.array(
            [
                column.write(values[name]) if name in active and name in values else idle
                for (name, column), idle in zip(self.columns.items(), self.idle, strict=True)
            ]
        )

    def read(self, row: Array) -> dict[str, Any]:
        """The configuration of a row: its active parameters, in declared order; it may break a constraint."""
        places = dict(zip(self.names, row, strict=True))

        def choose(name: str) -> Any:
            if name not in places:
                return self.space.parameters[name].value_at(0)
            return self.columns[name].read(places[name])

        return self.space.fill(choose)

    def tidy(self, rows: Array, kept: Mapping[int, float]) -> Array:
        """Rows (m, d) moved to the nearest values, with `kept` places by column, and inactive ones in the middle."""
        tidied = np.column_stack([column.snap(rows[:, j]) for j, column in enumerate(self.columns.values())])
        for j, place in kept.items():
            tidied[:, j] = place
        return np.where(self.active(tidied), tidied, self.idle) if self.space.conditional else tidied

    def active(self, rows: Array) -> Mask:
        """Which columns are active in rows without inactive places, shape (m, d)."""
        parents = rows[:, self._parents]
        mask = np.empty(rows.shape, dtype=bool)
        for i, row in enumerate(rows):
            key = parents[i].tobytes()
            if key not in self._known_activity:
                if len(self._known_activity) > 10_000:
                    self._known_activity.clear()
                values = self.read(row)
                self._known_activity[key] = np.array([name in values for name in self.names])
            mask[i] = self._known_activity[key]
        return mask

    @cached_property
    def _parents(self) -> list[int]:
        """The columns that conditions read."""
        read = {name for each in self.space.parameters.values() if each.when for name in each.when.names}
        return [j for j, name in enumerate(self.names) if name in read]

    def draw(self, rng: Generator, m: int) -> Array:
        """Rows from the prior, constraints and conditions not looked at; shape (m, d)."""
        rows = rng.random((m, len(self)))
        for j, places in enumerate(self._places):
            if self.is_choice[j] and places is not None:
                rows[:, j] = np.floor(rows[:, j] * len(places))
        return rows

    @cached_property
    def _places(self) -> Sequence[Array | None]:
        return [column.places for column in self.columns.values()]

    def nudge(self, rows: Array, rng: Generator, width: float) -> Array:
        """Each row changed in one column or a few: a number by about `width`, at least one step; a choice to another.

        Shape as `rows`, (m, d); every row changes in one column at least.
        """
        m, d = rows.shape
        change = rng.random((m, d)) < min(1.0, 2.0 / d)
        change[np.arange(m), rng.integers(d, size=m)] = True
        moved = rows + width * rng.standard_normal((m, d))
        for j, places in enumerate(self._places):
            if places is None:
                continue
            n = len(places)
            if self.is_choice[j]:
                moved[:, j] = (np.maximum(rows[:, j], 0.0) + 1 + np.floor(rng.random(m) * (n - 1))) % n
                continue
            at = np.searchsorted(places, rows[:, j] - 1e-9)
            to = np.clip(at + np.where(rng.random(m) < 0.5, -1, 1), 0, n - 1)
            wanted = np.searchsorted(self.columns[self.names[j]].edges, moved[:, j], side="right")
            moved[:, j] = places[np.where(wanted == at, to, wanted)]
        reflected = np.abs(moved)
        reflected = np.where(reflected > 1.0, np.maximum(2.0 - reflected, 0.0), reflected)
        return np.where(change, np.where(self.is_choice, moved, reflected), rows)
