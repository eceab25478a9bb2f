"""What a study says to the model: each trial as a row with values, a failure, or one that still runs.

A trial that was cut short, or that still runs and has reported, has a forecast in place of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import SpaceError
from rltune.forecast import Grid, fit
from rltune.records import from_trial
from rltune.samplers.auto.encode import Columns, Mask
from rltune.samplers.auto.kernel import Array
from rltune.types import BY_CONFIGURATION

SOME = 1e-12  # doubt, which is what marks a value that was not measured

Told: TypeAlias = tuple[Array, Array, Array]
"""Rows (n, d), one value each (n,), and the standard deviations of those that are forecasts (n,), 0 for the others."""


@dataclass(frozen=True)
class Observation:
    """One trial.

    Attributes:
        row: Shape (d,).
        values: One number an objective, to be minimised; None where it has failed by its configuration.
        retry_of: The trial that it repeats, or -1.
        curve: The first objective by step, to be minimised.
        is_cut: It has not come to its end, and its value is the last of the curve.
        violations: By how much each constraint is missed, by its name.
    """

    number: int
    row: Array
    values: tuple[float, ...] | None
    retry_of: int = -1
    curve: Mapping[int, float] = field(default_factory=dict)
    is_cut: bool = False
    violations: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """All trials of a study, in the order of their numbers; those that still run and have a forecast come last.

    Attributes:
        x: Rows with values, shape (n, d).
        y: Their values, shape (n, n_objectives).
        doubt: The standard deviations of those that are forecasts, shape (n,); 0 for what was measured.
        n_finished: How many of these rows are of trials that have finished.
        violations: By constraint; NaN where a trial does not tell. Each of shape (n,).
        failed: Rows of failures, shape (f, d).
        failed_after: How many of the rows with values came before each failure, shape (f,).
        running: Rows of what still runs, shape (p, d).
        first: The first n rows with one objective, as they looked when there were no more.
    """

    x: Array
    y: Array
    doubt: Array
    n_finished: int
    violations: Mapping[str, Array]
    failed: Array
    failed_after: NDArray[np.intp]
    running: Array
    first: Callable[[int], Told]

    @property
    def begun(self) -> Array:
        """All rows, shape (n + f + p, d)."""
        return np.vstack([self.x, self.failed, self.running])

    @property
    def feasible(self) -> Mask:
        """Which rows with values keep all constraints, as far as is known; shape (n,)."""
        kept = np.ones(len(self.x), dtype=bool)
        for missed in self.violations.values():
            kept &= ~(missed > 0)
        return kept


class Reader:
    """Reads the trials of a study again and again.

    A finished trial never changes, so those up to the first one that still runs are read once.

    Args:
        columns: What rows mean.
        params_of: What a trial stands for in the space.
    """

    def __init__(self, columns: Columns, params_of: Callable[[FrozenTrial], Mapping[str, Any]]) -> None:
        self.columns = columns
        self.params_of = params_of
        self._known = _Known("", 0, 0, _Found.nothing(len(columns), 1))

    def read(self, study: Study, current: FrozenTrial) -> Observed:
        """Everything but the `current` trial."""
        signs = [-1.0 if each is StudyDirection.MAXIMIZE else 1.0 for each in study.directions]
        known = self._known  # once: threads of one study share it
        if (known.study_name, known.storage) != (study.study_name, id(study._storage)):
            known = _Known(study.study_name, id(study._storage), 0, _Found.nothing(len(self.columns), len(signs)))
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        end = next((i for i in range(known.n, len(trials)) if not trials[i].state.is_finished()), len(trials))
        settled = known.found.plus(self._observe(trial, signs) for trial in trials[known.n : end])
        self._known = replace(known, n=end, found=settled)
        later = [trial for trial in trials[end:] if trial.number != current.number]
        found = settled.plus(self._observe(trial, signs) for trial in later if trial.state.is_finished())
        running = [row for trial in later if not trial.state.is_finished() and (row := self._row(trial)) is not None]
        begun = [self._observe(trial, signs) for trial in later if trial.state is TrialState.RUNNING]
        begun = [each for each in begun if each is not None and each.values is not None]
        return found.plus(begun).observed(np.array(running).reshape(-1, len(self.columns)), n_begun=len(begun))

    def _row(self, trial: FrozenTrial) -> Array | None:
        """None where a parameter is missing or lies outside the space."""
        parameters = self.columns.space.parameters
        try:
            values = {name: parameters[name].cast(v) for name, v in self.params_of(trial).items() if name in parameters}
        except SpaceError:
            return None
        if any(not parameters[name].contains(value) for name, value in values.items()):
            return None
        if any(name not in values for name in self.columns.space.active(values)):
            return None
        return self.columns.write(values)

    def _observe(self, trial: FrozenTrial, signs: Sequence[float]) -> Observation | None:
        row = self._row(trial)
        if row is None:
            return None
        record = from_trial(trial)
        origin = -1 if record.retry_of is None else record.retry_of
        if trial.state is TrialState.FAIL:
            blamed = record.cause is None or record.cause in BY_CONFIGURATION
            return Observation(trial.number, row, None, origin) if blamed else None
        values, is_cut = record.values, not (trial.state is TrialState.COMPLETE or record.has_result)
        curve = {step: signs[0] * value for step, value in record.curve.items()} if len(signs) == 1 else {}
        if is_cut:
            values = (signs[0] * curve[max(curve)],) if curve else None
        if values is None or not all(map(math.isfinite, values)):
            return Observation(trial.number, row, None, origin)
        told = tuple(sign * value for sign, value in zip(signs, values, strict=True))
        return Observation(trial.number, row, told, origin, curve, is_cut, record.violations)


@dataclass(frozen=True)
class _Found:
    """Observations in the order of their numbers, as arrays that grow: ten thousand objects would take long to sort.

    Attributes:
        rows: Shape (m, d).
        values: Shape (m, n_objectives), NaN where a trial has failed.
        facts: Shape (m, 3): the trial's number, the number of the one that it repeats or -1, 1 where it was cut short.
        curves: By place, where there are any.
        violations: Likewise.
        grid: Of these curves.
    """

    rows: Array
    values: Array
    facts: Array
    curves: Mapping[int, Mapping[int, float]]
    violations: Mapping[int, Mapping[str, float]]
    grid: Grid

    @classmethod
    def nothing(cls, d: int, n_objectives: int) -> _Found:
        return cls(np.empty((0, d)), np.empty((0, n_objectives)), np.empty((0, 3)), {}, {}, Grid())

    def plus(self, more: Iterable[Observation | None]) -> _Found:
        new = [each for each in more if each is not None]
        if not new:
            return self
        failed = (math.nan,) * self.values.shape[1]
        curves = {len(self.rows) + i: each.curve for i, each in enumerate(new) if each.curve}
        missed = {len(self.rows) + i: each.violations for i, each in enumerate(new) if each.violations}
        return _Found(
            np.vstack([self.rows, *(each.row for each in new)]),
            np.vstack([self.values, *(each.values or failed for each in new)]),
            np.vstack([self.facts, *((each.number, each.retry_of, each.is_cut) for each in new)]),
            {**self.curves, **curves} if curves else self.curves,
            {**self.violations, **missed} if missed else self.violations,
            self.grid,
        )

    def observed(self, running: Array, n_begun: int) -> Observed:
        """A trial that failed for an unknown cause and was run again says nothing; the last `n_begun` still run."""
        has_value = ~np.isnan(self.values[:, 0])
        failed = ~has_value & ~np.isin(self.facts[:, 0], self.facts[:, 1])
        places = np.flatnonzero(has_value)
        y, doubt = self._forecast(places)
        names = sorted({name for each in self.violations.values() for name in each})
        missed = {name: np.full(len(self.rows), math.nan) for name in names}
        for place, violations in self.violations.items():
            for name, value in violations.items():
                missed[name][place] = value
        return Observed(
            self.rows[places],
            y,
            doubt,
            len(places) - n_begun,
            {name: each[places] for name, each in missed.items()},
            self.rows[failed],
            np.cumsum(has_value)[failed],
            running,
            lambda n: self._first(places[:n]),
        )

    def _first(self, places: NDArray[np.intp]) -> Told:
        y, doubt = self._forecast(places)
        return self.rows[places], y[:, 0], doubt

    def _forecast(self, places: NDArray[np.intp]) -> tuple[Array, Array]:
        """Of those trials, values (n, n_objectives) and doubt (n,): forecasts for those that were cut short.

        While nothing has come to its end, the last value says next to nothing of it.
        """
        y, cut = self.values[places], self.facts[places, 2] > 0
        doubt = np.where(cut, np.inf, 0.0)
        ended = places[~cut]
        if not cut.any() or not len(ended):
            return y, doubt
        horizon = max((max(self.curves[place]) for place in ended if place in self.curves), default=0)
        if horizon <= 0:  # whoever stopped them saw them among the worse half: in the middle of that
            y[cut] = np.maximum(y[cut], np.quantile(y[~cut], 0.75, axis=0))
            return y, np.where(cut, SOME, 0.0)
        rows = self.grid.rows(((int(self.facts[place, 0]), self.curves.get(place, {})) for place in places), horizon)
        forecaster = fit(rows, np.where(cut, math.nan, y[:, 0]))
        if forecaster is None:
            return y, doubt
        y[cut, 0], sd = forecaster.scale.read(*forecaster.predict(rows[cut]))
        doubt[cut] = np.maximum(sd, SOME)
        return y, doubt


@dataclass(frozen=True)
class _Known:
    """What the first n trials of a study say; all of them had finished."""

    study_name: str
    storage: int
    n: int
    found: _Found
