"""What a study says to the model: each trial as a row with values, a failure, or one that still runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import SpaceError
from rltune.records import from_trial
from rltune.samplers.auto.encode import Columns, Mask
from rltune.samplers.auto.kernel import Array
from rltune.types import BY_CONFIGURATION


@dataclass(frozen=True)
class Observation:
    """One finished trial.

    Attributes:
        row: Shape (d,).
        values: One number an objective, to be minimised; None where it has failed by its configuration.
        retry_of: The trial that it repeats, or -1.
        is_bound: The run was cut short, so that the value is only known to be no good sign.
        violations: By how much each constraint is missed, by its name.
    """

    number: int
    row: Array
    values: tuple[float, ...] | None
    retry_of: int = -1
    is_bound: bool = False
    violations: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """All trials of a study, in the order of their numbers.

    Attributes:
        x: Rows with values, shape (n, d).
        y: Their values, shape (n, n_objectives).
        violations: By constraint; NaN where a trial does not tell. Each of shape (n,).
        failed: Rows of failures, shape (f, d).
        failed_after: How many of the rows with values came before each failure, shape (f,).
        running: Rows of what still runs, shape (p, d).
    """

    x: Array
    y: Array
    violations: Mapping[str, Array]
    failed: Array
    failed_after: NDArray[np.intp]
    running: Array

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
        return found.observed(np.array(running).reshape(-1, len(self.columns)))

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
        values = record.values
        is_bound = trial.state is TrialState.PRUNED and not record.has_result
        if is_bound:
            curve = record.curve
            values = (curve[max(curve)],) if curve and len(signs) == 1 else None
        if values is None or not all(map(math.isfinite, values)):
            return Observation(trial.number, row, None, origin)
        told = tuple(sign * value for sign, value in zip(signs, values, strict=True))
        return Observation(trial.number, row, told, origin, is_bound, record.violations)


@dataclass(frozen=True)
class _Found:
    """Observations in the order of their numbers, as arrays that grow: ten thousand objects would take long to sort.

    Attributes:
        rows: Shape (m, d).
        values: Shape (m, n_objectives), NaN where a trial has failed.
        facts: Shape (m, 3): the trial's number, the number of the one that it repeats or -1, 1 for a bound.
        violations: By place, where there are any.
    """

    rows: Array
    values: Array
    facts: Array
    violations: Mapping[int, Mapping[str, float]]

    @classmethod
    def nothing(cls, d: int, n_objectives: int) -> _Found:
        return cls(np.empty((0, d)), np.empty((0, n_objectives)), np.empty((0, 3)), {})

    def plus(self, more: Iterable[Observation | None]) -> _Found:
        new = [each for each in more if each is not None]
        if not new:
            return self
        failed = (math.nan,) * self.values.shape[1]
        missed = {len(self.rows) + i: each.violations for i, each in enumerate(new) if each.violations}
        return _Found(
            np.vstack([self.rows, *(each.row for each in new)]),
            np.vstack([self.values, *(each.values or failed for each in new)]),
            np.vstack([self.facts, *((each.number, each.retry_of, each.is_bound) for each in new)]),
            {**self.violations, **missed} if missed else self.violations,
        )

    def observed(self, running: Array) -> Observed:
        """A trial that failed for an unknown cause and was run again says nothing."""
        has_value = ~np.isnan(self.values[:, 0])
        failed = ~has_value & ~np.isin(self.facts[:, 0], self.facts[:, 1])
        y, cut = self.values[has_value], self.facts[has_value, 2] > 0
        if cut.any() and not cut.all():  # whoever stopped it saw it among the worse half: in the middle of that
            y[cut] = np.maximum(y[cut], np.quantile(y[~cut], 0.75, axis=0))
        names = sorted({name for each in self.violations.values() for name in each})
        missed = {name: np.full(len(self.rows), math.nan) for name in names}
        for place, violations in self.violations.items():
            for name, value in violations.items():
                missed[name][place] = value
        return Observed(
            self.rows[has_value],
            y,
            {name: each[has_value] for name, each in missed.items()},
            self.rows[failed],
            np.cumsum(has_value)[failed],
            running,
        )


@dataclass(frozen=True)
class _Known:
    """What the first n trials of a study say; all of them had finished."""

    study_name: str
    storage: int
    n: int
    found: _Found
