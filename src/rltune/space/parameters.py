"""What may vary: a float, an integer or a choice. Each is a value that cannot be wrong.

A parameter knows four views of itself, and every part of the search space is built from them:

=============  =======================================================================================
distribution   Optuna's, for suggestions and the journal; `to_journal` and `cast` lead there and back
unit interval  `from_unit`, `to_unit`: u uniform on [0, 1] gives the prior (uniform, or log-uniform)
values         `n_values`, `value_at`: the finite set that can be drawn; None for a continuous float
grid           `n_grid_points`, `grid_points`: what a grid search runs; None where that is undecided
=============  =======================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rltune.errors import Problem, SpaceError
from rltune.space.expressions import Expression
from rltune.space.validation import (
    TOLERANCE,
    as_float,
    as_int,
    choice_problems,
    condition_problems,
    decimal,
    plain,
    range_problems,
    same,
    scale_problems,
    step_problems,
    zero_problems,
)
from rltune.types import Scalar
from rltune.wording import found, listed


class NoDefault(Enum):
    """Stands for "no default", since null can be a choice."""

    NO_DEFAULT = "no default"


NO_DEFAULT: Final = NoDefault.NO_DEFAULT


@dataclass(frozen=True)
class Float:
    """A real number from `low` to `high`, both included; `low == high` is a constant.

    Attributes:
        log: Search on a logarithmic scale.
        step: Only low, low + step, low + 2 step … up to `high`; excludes `log`.
        default: What the user has today.
        prior: Where they expect the best, if not there: what `auto` looks at first, and forgets as it learns.
        when: The parameter is active where this holds; None is always.
        n_points: How many points a grid search takes, evenly spaced on the parameter's scale, ends included.
            It changes nothing for other samplers.
        zero: How likely the prior is to give exactly 0, which no logarithmic scale reaches; the rest of the time it is
            log-uniform from `low` to `high`. To Optuna this is one range that goes on below `low`: see `to_journal`.

    Raises:
        SpaceError: With every contradiction found, keyed as in a study file (`min`, `max`, `default` …).
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    default: float | NoDefault = NO_DEFAULT
    when: Expression | None = None
    n_points: int | None = None
    zero: float | None = None
    prior: float | NoDefault = NO_DEFAULT
    distribution: FloatDistribution = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        low, high = as_float("min", self.low, problems), as_float("max", self.high, problems)
        step = None if self.step is None else as_float("step", self.step, problems)
        if low is not None and high is not None:
            problems += range_problems(low, high, self.log, smallest_log=0.0)
            problems += zero_problems(self.zero, low, high, self.log)
        problems += scale_problems(self.log, step, self.n_points, self.when)
        if not problems and low is not None and high is not None:
            problems += step_problems(low, high, step)
        if problems or low is None or high is None:
            raise SpaceError(problems)
        _set(self, low=low, high=high, step=step)
        top = high if step is None else self.value_at(self._n_steps())
        _set(self, distribution=FloatDistribution(self._zero_in_journal or low, top, log=self.log, step=step))
        _set_named_values(self)

    @property
    def _zero_in_journal(self) -> float | None:
        """Where the range begins that Optuna is given: as far below `low` as makes `zero` the share that lies there."""
        return None if self.zero is None else self.low * (self.low / self.high) ** (self.zero / (1 - self.zero))

    def to_journal(self, value: float) -> float:
        """What stands for `value` in the study, whose range does not reach 0; `cast` leads back."""
        return self._zero_in_journal if value == 0.0 and self._zero_in_journal is not None else value

    @property
    def n_values(self) -> int | None:
        """How many values there are; None for a continuous range."""
        if self.step is not None:
            return self._n_steps() + 1
        return 1 if self.low == self.high else None

    def value_at(self, index: int) -> float:
        """The value `index` steps above `low`, as decimal arithmetic gives it: 0.3, not 0.30000000000000004."""
        if self.step is None or index == 0:
            return self.low
        return float(decimal(self.low) + index * decimal(self.step))

    def _n_steps(self) -> int:
        return 0 if self.step is None else int((decimal(self.high) - decimal(self.low)) // decimal(self.step))

    @property
    def n_grid_points(self) -> int | None:
        """How many a grid search takes; None where that is undecided."""
        if self.n_points is None or self.n_values is not None:
            return self.n_values
        return self.n_points + (self.zero is not None)

    def grid_points(self) -> Sequence[float]:
        """Raises: ValueError: The grid of this parameter is undecided (`n_grid_points` is None)."""
        if self.n_values is not None:
            return [self.value_at(index) for index in range(self.n_values)]
        if self.n_points is None:
            raise ValueError("a continuous float has no grid without n_points")
        p = self.zero or 0.0
        points = [self.from_unit(p + u * (1 - p)) for u in _spaced(self.n_points)]
        return points if self.zero is None else [0.0, *points]

    def from_unit(self, u: float) -> float:
        """The value at a place of the unit interval, from 0 to 1; `to_unit` leads back."""
        n = self.n_values
        if n is not None:
            return self.value_at(min(int(u * n), n - 1))
        if self.zero is not None:
            if u < self.zero:
                return 0.0
            u = (u - self.zero) / (1 - self.zero)
        if u in (0.0, 1.0):
            return self.high if u else self.low
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(max(math.exp(low + u * (high - low)), self.low), self.high)
        return min(max(self.low + u * (self.high - self.low), self.low), self.high)

    def to_unit(self, value: float) -> float:
        """The place of a value in the unit interval."""
        n = self.n_values
        if n is not None:
            return (self._index(value) + 0.5) / n
        if self.zero is not None and value < self.low:
            return self.zero / 2
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            p = self.zero or 0.0
            return p + (1 - p) * (math.log(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def _index(self, value: float) -> int:
        if self.step is None:
            return 0
        return min(max(round((value - self.low) / self.step), 0), self._n_steps())

    def cast(self, value: Any) -> float:
        """`value` as a Python float, on the nearest step; what stands for 0 in the study becomes 0.

        Raises:
            SpaceError: It is no finite number.
        """
        problems: list[Problem] = []
        number = as_float("value", value, problems)
        if number is None:
            raise SpaceError(problems)
        if self.zero is not None and 0.0 <= number < self.low:
            return 0.0
        on_step = self.step is not None and self.contains(number)
        return self.value_at(self._index(number)) if on_step else number

    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.zero is not None and value == 0.0:
            return True
        if not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return abs(steps - round(steps)) < TOLERANCE and round(steps) <= self._n_steps()

    def describe(self) -> str:
        """For a person."""
        zero = "" if self.zero is None else "0, or "
        return zero + _describe_range(self.low, self.high, self.log, self.step)


@dataclass(frozen=True)
class Int:
    """A whole number from `low` to `high`, both included; `low == high` is a constant.

    Attributes:
        log: Search on a logarithmic scale; from 1 on.
        step: Only low, low + step, low + 2 step … up to `high`; excludes `log`.
        default, prior, when: As for `Float`.
        n_points: How many points a grid search takes at most, evenly spaced on the parameter's scale, ends
            included; without it, every value.

    Raises:
        SpaceError: As for `Float`.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    default: int | NoDefault = NO_DEFAULT
    when: Expression | None = None
    n_points: int | None = None
    prior: int | NoDefault = NO_DEFAULT
    distribution: IntDistribution = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        low, high = as_int("min", self.low, problems), as_int("max", self.high, problems)
        step = as_int("step", self.step, problems)
        if low is not None and high is not None:
            problems += range_problems(low, high, self.log, smallest_log=1)
        problems += scale_problems(self.log, None if step == 1 else step, self.n_points, self.when)
        if problems or low is None or high is None or step is None:
            raise SpaceError(problems)
        _set(self, low=low, high=high, step=step)
        _set(self, distribution=IntDistribution(low, self.value_at(self.n_values - 1), log=self.log, step=step))
        _set_named_values(self)

    @property
    def n_values(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def value_at(self, index: int) -> int:
        """The value `index` steps above `low`."""
        return self.low + index * self.step

    @property
    def n_grid_points(self) -> int:
        """How many a grid search takes."""
        return len(self.grid_points())

    def grid_points(self) -> Sequence[int]:
        """What a grid search takes, in rising order."""
        if self.n_points is None or self.n_points >= self.n_values:
            return range(self.low, self.high + 1, self.step)
        if not self.log:
            return sorted({self.value_at(round(u * (self.n_values - 1))) for u in _spaced(self.n_points)})
        ratio = math.log(self.high / self.low)
        return sorted({min(round(self.low * math.exp(u * ratio)), self.high) for u in _spaced(self.n_points)})

    def _log_ends(self) -> tuple[float, float]:
        """Half a unit beyond both ends, so that these are as likely as their neighbours; Optuna does the same."""
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def from_unit(self, u: float) -> int:
        """The value at a place of the unit interval, from 0 to 1; `to_unit` leads back."""
        if not self.log:
            return self.value_at(min(int(u * self.n_values), self.n_values - 1))
        low, high = self._log_ends()
        return min(max(round(math.exp(low + u * (high - low))), self.low), self.high)

    def to_unit(self, value: int) -> float:
        """The place of a value in the unit interval."""
        if not self.log:
            return ((value - self.low) // self.step + 0.5) / self.n_values
        low, high = self._log_ends()
        return (math.log(value) - low) / (high - low)

    def cast(self, value: Any) -> int:
        """`value` as a Python int.

        Raises:
            SpaceError: It is no whole number.
        """
        problems: list[Problem] = []
        number = as_int("value", value, problems)
        if number is None:
            raise SpaceError(problems)
        return number

    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def to_journal(self, value: int) -> int:
        """The value itself; see `Float.to_journal`."""
        return value

    def describe(self) -> str:
        """For a person."""
        return _describe_range(self.low, self.high, self.log, None if self.step == 1 else self.step)


@dataclass(frozen=True)
class Categorical:
    """One of a few given values: numbers, text, true, false or null.

    Attributes:
        choices: At least one, no two equal. Their order gives their places in the unit interval.
        default, prior, when: As for `Float`.

    Raises:
        SpaceError: As for `Float`.
    """

    choices: tuple[Scalar, ...]
    default: Scalar | NoDefault = NO_DEFAULT
    when: Expression | None = None
    prior: Scalar | NoDefault = NO_DEFAULT
    distribution: CategoricalDistribution = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.choices, list | tuple):
            message = f"must be a list, got {found(self.choices)}"
            raise SpaceError([Problem(("choices",), message, "as in `choices: [8, 16, 32]`")])
        choices = tuple(plain(choice) for choice in self.choices)
        problems = [*choice_problems(choices), *condition_problems(self.when)]
        if problems:
            raise SpaceError(problems)
        _set(self, choices=choices, distribution=CategoricalDistribution(choices))
        _set_named_values(self)

    @property
    def n_values(self) -> int:
        """How many values there are."""
        return len(self.choices)

    def value_at(self, index: int) -> Scalar:
        """The choice of that index."""
        return self.choices[index]

    @property
    def n_grid_points(self) -> int:
        """How many a grid search takes."""
        return len(self.choices)

    def grid_points(self) -> Sequence[Scalar]:
        """What a grid search takes: every choice."""
        return self.choices

    def from_unit(self, u: float) -> Scalar:
        """The choice at a place of the unit interval, from 0 to 1; `to_unit` leads back."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def to_unit(self, value: Scalar) -> float:
        """The place of a choice in the unit interval: the middle of its share."""
        return (self._index(value) + 0.5) / len(self.choices)

    def _index(self, value: Scalar) -> int:
        for index, choice in enumerate(self.choices):
            if same(choice, value):
                return index
        message = f"must be one of {listed(self.choices)}, got {found(value)}"
        raise SpaceError([Problem(("value",), message)])

    def cast(self, value: Any) -> Scalar:
        """The choice that equals `value`, so that 8.0 comes out as 8.

        Raises:
            SpaceError: There is none.
        """
        return self.choices[self._index(plain(value))]

    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        return any(same(choice, value) for choice in self.choices)

    def to_journal(self, value: Scalar) -> Scalar:
        """The value itself; see `Float.to_journal`."""
        return value

    def describe(self) -> str:
        """For a person."""
        return listed(self.choices)


Parameter: TypeAlias = Float | Int | Categorical


def probability(parameter: Parameter, value: Any) -> float:
    """How likely the prior is to give `value`, for a parameter with finitely many values."""
    if isinstance(parameter, Int) and parameter.log:
        low, high = parameter._log_ends()
        return (math.log(value + 0.5) - math.log(value - 0.5)) / (high - low)
    return 1 / (parameter.n_values or 1)


def _set(parameter: Parameter, **fields: Any) -> None:
    for name, value in fields.items():
        object.__setattr__(parameter, name, value)


def _set_named_values(parameter: Parameter) -> None:
    """Give the default and the prior their type, or refuse them."""
    problems: list[Problem] = []
    for key, given in (("default", parameter.default), ("prior", parameter.prior)):
        if given is NO_DEFAULT:
            continue
        try:
            value = parameter.cast(given)
        except SpaceError as error:
            problems += (Problem((key,), each.message, each.hint) for each in error.problems)
            continue
        too_small = isinstance(parameter, Float) and value == 0.0 != given
        if too_small or not parameter.contains(value):
            message = f"{given if too_small else value!r} is not in the range, {parameter.describe()}"
            problems.append(Problem((key,), message, f"widen the range, or change the {key}"))
        _set(parameter, **{key: value})
    if problems:
        raise SpaceError(problems)


def _spaced(n: int) -> Iterable[float]:
    return [index / (n - 1) for index in range(n)] if n > 1 else [0.5]


def _describe_range(low: float, high: float, log: bool, step: float | None) -> str:
    extra = f" in steps of {step!r}" if step is not None else ""
    return f"{low!r} to {high!r}{extra}{' on a log scale' if log else ''}"
