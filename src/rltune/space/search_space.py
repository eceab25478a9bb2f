"""The search space: what may vary, what must hold, what follows.

Four views of one configuration, all keyed by dotted names:

========  ==================================================================================================
values    the active parameters: what a sampler proposes, what the journal keeps
params    the same, perhaps with more: every method takes a mapping and looks at the active parameters only
resolved  active parameters in declared order, then derived values: what the trainer gets
unit      a point of the unit cube, shape (n_parameters,), in declared order; inactive parameters lie at 0.5
========  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from numpy.random import Generator
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from rltune.errors import Problem, SpaceError
from rltune.space import feasibility
from rltune.space.expressions import Expression
from rltune.space.grid import LARGEST_GRID, Grid, estimate
from rltune.space.parameters import NO_DEFAULT, Categorical, Float, Int, Parameter
from rltune.space.reading import read_constraints, read_derived, read_parameters
from rltune.space.regions import Region, cut
from rltune.space.rules import Rule, in_order, make_rules, name_problems, with_derived
from rltune.types import Scalar


@dataclass(frozen=True)
class SearchSpace:
    """Parameters with conditions, constraints and derived values; never empty and never in contradiction.

    A parameter whose condition `when` does not hold is inactive: it has no value in that configuration. A constraint
    that names an inactive parameter does not apply there. A derived value that needs an inactive parameter is absent.

    Attributes:
        parameters: By dotted name, in declared order.
        constraints: What every proposed configuration satisfies.
        derived: Values computed from parameters, constants and each other.
        constants: Values that expressions may read but that do not vary, such as those of a base config.

    Raises:
        SpaceError: With every problem found: unknown names, circles, expressions that cannot be computed, conditions
            that never hold, defaults that break a constraint, constraints that leave nothing.
    """

    parameters: Mapping[str, Parameter]
    constraints: tuple[Expression, ...] = ()
    derived: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, Scalar] = field(default_factory=dict)
    _order: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _formulas: Mapping[str, Expression] = field(init=False, repr=False, compare=False)  # `derived`, needs first
    _rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    _regions: tuple[Region, ...] = field(init=False, repr=False, compare=False)
    _region_of: Mapping[str, Region] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse(name_problems(self.parameters, self.constraints, self.derived, self.constants))
        constants = {
            name: value
            for name, value in self.constants.items()
            if name not in self.parameters and name not in self.derived
        }
        order = in_order({name: each.when.names if each.when else () for name, each in self.parameters.items()})
        formulas = in_order({name: each.names for name, each in self.derived.items()})
        derived = {name: self.derived[name] for name in formulas}
        rules = make_rules(self.parameters, self.constraints, derived, constants)
        regions = cut({name: self.parameters[name] for name in order}, rules, constants)
        for name, value in {
            "parameters": MappingProxyType(dict(self.parameters)),
            "constraints": tuple(self.constraints),
            "derived": MappingProxyType(dict(self.derived)),
            "constants": MappingProxyType(constants),
            "_order": tuple(order),
            "_formulas": derived,
            "_rules": rules,
            "_regions": tuple(regions),
            "_region_of": {name: region for region in regions for name in region.parameters},
        }.items():
            object.__setattr__(self, name, value)
        _refuse(feasibility.region_problems(regions))
        _refuse(feasibility.default_problems(self._known_defaults(), rules))
        _refuse(feasibility.derived_problems(self._some_values(), derived, constants))

    @classmethod
    def from_mapping(
        cls,
        search_space: Mapping[str, Any],
        constraints: Iterable[Any] = (),
        derived: Mapping[str, Any] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> SearchSpace:
        """The space that a study file describes.

        Args:
            search_space: Parameters by dotted name, each a mapping, the guide's short form or a parameter object.
            constraints: Texts of the expression language.
            derived: The same, by the name of what they give.
            constants: As the attribute; values that are not scalars are left out.

        Raises:
            SpaceError: With every problem found, keyed `("search_space", name, "min")`, `("constraints", 0)`,
                `("derived", name)`.
        """
        problems: list[Problem] = []
        parameters = read_parameters(search_space, problems)
        rules = read_constraints(constraints, problems)
        formulas = read_derived(derived or {}, problems)
        fixed = {name: value for name, value in (constants or {}).items() if isinstance(value, Scalar)}
        problems += name_problems(parameters, rules, formulas, fixed)
        _refuse(problems)
        return cls(
            {name: each for name, each in parameters.items() if each is not None},
            tuple(each for each in rules if each is not None),
            {name: each for name, each in formulas.items() if each is not None},
            fixed,
        )

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of every parameter, in declared order."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    @property
    def order(self) -> tuple[str, ...]:
        """The parameters such that each comes after those that its condition reads."""
        return self._order

    @property
    def conditional(self) -> frozenset[str]:
        """The parameters that have a condition."""
        return frozenset(name for name, parameter in self.parameters.items() if parameter.when is not None)

    @property
    def size(self) -> int | None:
        """How many distinct feasible configurations there are; None with a continuous parameter.

        Exact where the parameters that constraints and conditions tie together have up to 20,000 combinations, an
        upper bound elsewhere.
        """
        size = 1
        for region in self._regions:
            tied = region.rules or len(region.parameters) > 1
            count = region.n_combinations if not tied or region.members is None else len(region.members)
            if count is None:
                return None
            size *= count
        return size

    # -- one configuration ---------------------------------------------------------------------------------------

    def active(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The parameters that are active given `params`, in declared order.

        A condition that reads a parameter that is inactive, or has no value in `params`, does not hold.
        """
        active = set(self._active_in_order(params))
        return tuple(name for name in self.parameters if name in active)

    def _active_in_order(self, params: Mapping[str, Any]) -> list[str]:
        active: list[str] = []
        known: dict[str, Any] = {}
        for name in self._order:
            if self._region_of[name].is_active(name, known):
                active.append(name)
                if name in params:
                    known[name] = params[name]
        return active

    def resolve(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the trainer gets: active parameters in declared order, then derived values, each with its type.

        Raises:
            SpaceError: An active parameter has no value or one of a wrong type, or a derived value cannot be computed.
                Ranges and constraints are not looked at: see `violations`.
        """
        problems: list[Problem] = []
        resolved: dict[str, Any] = {}
        for name in self.active(params):
            if name not in params:
                problems.append(Problem((name,), "has no value, but is active"))
                continue
            try:
                resolved[name] = self.parameters[name].cast(params[name])
            except SpaceError as error:
                problems += (Problem((name,), each.message, each.hint) for each in error.problems)
        _refuse(problems)
        everything = with_derived(resolved, self._formulas, self.constants)
        return resolved | {name: everything[name] for name in self.derived if name in everything}

    def to_journal(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What stands for `params` in the Optuna study: to be enqueued, or added as a trial; `resolve` leads back."""
        known = self.parameters
        return {name: known[name].to_journal(value) if name in known else value for name, value in params.items()}

    def violations(self, params: Mapping[str, Any]) -> list[str]:
        """Why `params` would never be proposed, one sentence each; empty where it may be."""
        try:
            resolved = self.resolve(params)
        except SpaceError as error:
            return [str(problem) for problem in error.problems]
        sentences = [
            f"{name}: {value!r} is not in the range, {self.parameters[name].describe()}"
            for name, value in resolved.items()
            if name in self.parameters and not self.parameters[name].contains(value)
        ]
        for rule in self._rules:
            try:
                if not rule.check({name: resolved[name] for name in self.parameters if name in resolved}):
                    names = sorted(rule.expression.names & resolved.keys())
                    given = ", ".join(f"{name} = {resolved[name]!r}" for name in names)
                    sentences.append(f"`{rule.expression}` does not hold with {given}")
            except SpaceError as error:
                sentences += (problem.message for problem in error.problems)
        return sentences

    def is_feasible(self, params: Mapping[str, Any]) -> bool:
        """Whether `params` gives every active parameter a value of its range and satisfies every constraint."""
        return not self.violations(params)

    # -- defaults ------------------------------------------------------------------------------------------------

    def defaults(self) -> dict[str, Any] | None:
        """What the user has today: the defaults of the parameters that are active under them, in declared order.

        None if one of these has no default: see `missing_defaults`.
        """
        return None if self.missing_defaults else self._known_defaults()

    @property
    def missing_defaults(self) -> tuple[str, ...]:
        """The parameters that are active under the defaults, as far as known, and have none themselves."""
        known = self._known_defaults()
        return tuple(name for name in self.active(known) if name not in known)

    def _known_defaults(self) -> dict[str, Any]:
        given = {name: each.default for name, each in self.parameters.items() if each.default is not NO_DEFAULT}
        return {name: given[name] for name in self.active(given) if name in given}

    def with_defaults(self, values: Mapping[str, Any]) -> SearchSpace:
        """The same space, where parameters without a default of their own take it from `values`.

        Args:
            values: By dotted name, such as a flattened base config; other names and null numbers are passed over.

        Raises:
            SpaceError: A value is not in the range of its parameter, or the defaults break a constraint.
        """
        problems: list[Problem] = []
        parameters = dict(self.parameters)
        for name, parameter in self.parameters.items():
            value = values.get(name)
            unusable = name not in values or (value is None and not parameter.contains(None))
            if unusable or parameter.default is not NO_DEFAULT:
                continue
            try:
                parameters[name] = _with_default(parameter, value)
            except SpaceError as error:
                hint = "it comes from the base config; widen the range, or give a `default` here"
                problems += (Problem(("search_space", name, "default"), each.message, hint) for each in error.problems)
        _refuse(problems)
        return replace(self, parameters=parameters)

    # -- drawing -------------------------------------------------------------------------------------------------

    def sample(self, rng: Generator, keep: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A feasible configuration from the prior: uniform or log-uniform, on what the constraints leave.

        Args:
            rng: Its state is advanced.
            keep: Values that are decided already.

        Raises:
            SpaceError: None was found: what is left of the space, or goes with `keep`, is too small.
        """
        parts = [region.sample(rng, keep or {}) for region in self._regions]
        joined = self._join(parts)
        if joined is None:
            given = f" with {dict(keep)!r}" if keep else ""
            raise SpaceError([Problem(("search_space",), f"no feasible configuration was found{given}")])
        return joined

    def nearest(
        self, params: Mapping[str, Any], rng: Generator, keep: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The feasible configuration nearest to `params`, which changes only what broken constraints tie together.

        Exact where these parameters have few combinations, else the nearest of some draws; ties are broken by `rng`.
        None where none was found that agrees with `keep`.
        """
        decided = keep or {}
        values = {name: value for name, value in {**params, **decided}.items() if name in self.parameters}
        active = self._active_in_order(values)
        parts = []
        for region in self._regions:
            own = [name for name in active if name in region.parameters]
            part = {name: values[name] for name in own if name in values}
            whole = all(name in decided or self.parameters[name].contains(values.get(name)) for name in own)
            parts.append(part if whole and not region.violated(part) else region.nearest(part, rng, decided))
        return self._join(parts)

    def _join(self, parts: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        for part in parts:
            if part is None:
                return None
            values.update(part)
        return {name: values[name] for name in self.parameters if name in values}

    def from_unit(self, unit: NDArray[np.floating[Any]]) -> dict[str, Any]:
        """The configuration at a point of the unit cube; it may break constraints.

        Args:
            unit: Shape (n_parameters,), in declared order; uniform points give the prior. The coordinates of inactive
                parameters do not matter.
        """
        if np.shape(unit) != (len(self.parameters),):
            message = f"expected a point of shape ({len(self.parameters)},), got {np.shape(unit)}"
            raise ValueError(message)
        everything = {
            name: parameter.from_unit(float(u))
            for (name, parameter), u in zip(self.parameters.items(), unit, strict=True)
        }
        return {name: everything[name] for name in self.active(everything)}

    def to_unit(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """The point of the unit cube for `params`, shape (n_parameters,): `from_unit` leads back.

        Inactive parameters lie at 0.5, whatever `params` says of them.
        """
        active = set(self.active(params))
        return np.array(
            [
                parameter.to_unit(params[name]) if name in active and name in params else 0.5
                for name, parameter in self.parameters.items()
            ]
        )

    def fill(self, choose: Callable[[str], Any]) -> dict[str, Any]:
        """A configuration in declared order, for which `choose` is asked about each active parameter, conditions first.

        Raises:
            SpaceError: A chosen value has the wrong type, or is none of the choices.
        """
        values: dict[str, Any] = {}
        for name in self._order:
            if self._region_of[name].is_active(name, values):
                values[name] = self.parameters[name].cast(choose(name))
        return {name: values[name] for name in self.parameters if name in values}

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Ask Optuna for every active parameter, conditions first, and resolve the answer."""
        return self.resolve(self.fill(lambda name: _ask(trial, name, self.parameters[name])))

    # -- the grid ------------------------------------------------------------------------------------------------

    @property
    def grid_size(self) -> int | None:
        """An upper bound for the number of points of `grid()`; None where a continuous parameter has no points."""
        undecided = any(parameter.n_grid_points is None for parameter in self.parameters.values())
        return None if undecided else estimate(self._regions)

    def grid(self, limit: int = LARGEST_GRID) -> Grid:
        """Every feasible configuration of the grid points, once each.

        Args:
            limit: How many points are allowed.

        Raises:
            SpaceError: A continuous float has neither `step` nor `n_points`; or there are more than `limit` points.
        """
        return Grid(self._regions, tuple(self.parameters), limit)

    def some(self) -> Iterator[dict[str, Any]]:
        """Feasible configurations, resolved, always the same: for checks of what a trial may come to."""
        return map(self.resolve, self._some_values())

    def _some_values(self) -> Iterator[dict[str, Any]]:
        """Feasible configurations: corners of the unit cube, then draws."""
        rng = np.random.default_rng(0)
        n = len(self.parameters)
        for corner in (np.zeros(n), np.ones(n), *rng.integers(2, size=(20, n)).astype(float)):
            values = self.from_unit(corner)
            if all(rule.holds(values) for rule in self._rules):
                yield values
        yield from (self.sample(rng) for _ in range(20))

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchSpace, (dict(self.parameters), self.constraints, dict(self.derived), dict(self.constants))


def _ask(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    match parameter:
        case Float(distribution=range_):
            return trial.suggest_float(name, range_.low, range_.high, log=range_.log, step=range_.step)
        case Int(distribution=range_):
            return trial.suggest_int(name, range_.low, range_.high, log=range_.log, step=range_.step)
        case Categorical(choices=choices):
            return trial.suggest_categorical(name, choices)


def _with_default(parameter: Parameter, default: Any) -> Parameter:
    return replace(parameter, default=default)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise SpaceError(problems)
