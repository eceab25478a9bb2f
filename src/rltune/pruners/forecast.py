"""Stops a training once its forecast says that the compute left to it is better spent on another one."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import InputError, Problem
from rltune.forecast import FRACTIONS, Forecaster, Grid, fit
from rltune.improvement import log_improvement

FIRST, LAST = 3, 9  # of `FRACTIONS`, at which a training may be stopped: from a ninth to two thirds of it


class ForecastPruner(BasePruner):
    """Stops a training where what it may still gain is small beside what a new one may.

    At each of `rltune.forecast.FRACTIONS` from a ninth to two thirds of a training, the expected improvement of its
    final value on the best one so far is set against that of a training of which nothing is known. The compute left is
    better spent elsewhere where the first, for each unit of what is left to run, is below `impatience` times the
    second, for each unit of a whole training. Where early values say nothing about the end, both are alike, and nothing
    is stopped.

    A tenth of the compute goes to trainings that are let run in any case, so that the forecast is put to the test.

    Args:
        horizon: The last step of a whole training; None for the longest that has ended.
        n_startup_trials: Nothing is stopped before so many have ended.
        impatience: From 0, which stops nothing, to 1, which stops what promises less than a new one.

    Raises:
        InputError: A value is out of its range.
    """

    def __init__(self, *, horizon: int | None = None, n_startup_trials: int = 4, impatience: float = 0.2) -> None:
        problems = []
        if horizon is not None and horizon < 1:
            problems.append(Problem(("horizon",), f"must be at least 1, got {horizon}"))
        if n_startup_trials < 1:
            problems.append(Problem(("n_startup_trials",), f"must be at least 1, got {n_startup_trials}"))
        if not 0 <= impatience <= 1:
            problems.append(Problem(("impatience",), f"must be from 0 to 1, got {impatience}"))
        if problems:
            raise InputError(problems)
        self.horizon = horizon
        self.n_startup_trials = n_startup_trials
        self.impatience = impatience
        self._ended: _Ended | None = None  # a function of the trials that have ended

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial at its last report.

        Args:
            study: Its other trials are what the forecast is learned from.
            trial: With its curve so far; its last value is finite.
        """
        steps = sorted(trial.intermediate_values)[-2:]
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        ended = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED} and t.intermediate_values]
        whole = [t for t in ended if t.state is TrialState.COMPLETE]
        if not steps or len(whole) < self.n_startup_trials:
            return False
        horizon = self.horizon or max(max(t.intermediate_values) for t in whole)
        before, now = (_reached(step, horizon) for step in ([0, *steps])[-2:])
        if now == before or not FIRST <= now <= LAST:
            return False
        known = self._learn(study, ended, horizon)
        if known is None or _spared(trial.number, known.spent):
            return False
        row = known.grid.rows([(trial.number, trial.intermediate_values)], horizon) * known.sign
        nothing = np.full_like(row, math.nan)
        gain, gain_of_new = log_improvement(*known.forecaster.predict(np.vstack([row, nothing])), known.best)
        threshold = math.log(self.impatience) if self.impatience else -math.inf
        return bool(gain - math.log(1 - FRACTIONS[now - 1]) < threshold + gain_of_new)

    def _learn(self, study: Study, ended: list[FrozenTrial], horizon: int) -> _Ended | None:
        """From the trials that have ended; once for as long as no other does."""
        place = (study.study_name, id(study._storage), horizon)
        key = (*place, len(ended), ended[-1].number)
        if self._ended is not None and self._ended.key == key:
            return self._ended
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
        grid = self._ended.grid if self._ended is not None and self._ended.key[:3] == place else Grid()
        rows = sign * grid.rows(((t.number, t.intermediate_values) for t in ended), horizon)
        finals = sign * np.array([t.value if t.state is TrialState.COMPLETE else math.nan for t in ended], dtype=float)
        finals[~np.isfinite(finals)] = math.nan
        forecaster = fit(rows, finals)
        if forecaster is None or np.isnan(finals).all():
            return None
        spent = np.count_nonzero(~np.isnan(rows), axis=1)
        shares = np.append(0.0, FRACTIONS)[spent]
        best = float(np.nanmin(forecaster.scale.scored(finals)))
        self._ended = _Ended(key, grid, sign, forecaster, best, float(shares.mean()))
        return self._ended


@dataclass(frozen=True)
class _Ended:
    """What the trials that have ended say.

    Attributes:
        key: Which these are.
        sign: 1 where less is better, -1 where more is: the forecaster's values are minimised.
        best: The best final value, on the forecaster's scale.
        spent: The mean share of a training that they ran.
    """

    key: tuple[str, int, int, int, int]
    grid: Grid
    sign: float
    forecaster: Forecaster
    best: float
    spent: float


def _reached(step: int, horizon: int) -> int:
    """How many of the fractions lie at this step or before."""
    return int(np.count_nonzero(FRACTIONS * horizon <= step * (1 + 1e-9)))


def _spared(number: int, spent: float) -> bool:
    """By lot, the same for a trial whenever it is asked; so rarely that it comes to a tenth of the compute."""
    return zlib.crc32(f"spared {number}".encode()) / 2**32 < 0.1 * spent
