"""What is best, and whether it is shipped."""

import math
import statistics

import pytest
from optuna.trial import TrialState

from rltune.analysis.selection import finalists, ranked, recommended, verdict
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.types import Cause, Purpose

UP = Objective("accuracy", "maximize")
DOWN = Objective("loss", "minimize")


def trial(number, value, x=None, purpose=Purpose.SEARCH, **fields):
    values = None if value is None else (value,)
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return TrialRecord(number, state, purpose, {"x": number if x is None else x}, number, values, **fields)


def final(number, x, value):
    return trial(number, value, x, Purpose.FINAL)


def test_infeasible_ranks_behind_everything_feasible_by_what_it_misses():
    records = [
        trial(0, 0.1, violations={"memory": 3.0}),
        trial(1, 0.9, violations={"memory": -1.0}),
        trial(2, 0.2, violations={"memory": 1.0}),
        trial(3, 0.5),
        trial(4, None, cause=Cause.ERROR),
    ]
    assert [r.number for r in ranked(records, DOWN)] == [3, 1, 2, 0]
    assert [r.number for r in ranked(records, UP)] == [1, 3, 2, 0]


def test_finalists_are_distinct_feasible_and_not_the_default():
    records = [trial(0, 0.1, x=1), trial(1, 0.2, x=1), trial(2, 0.3, x=2), trial(3, 0.0, x=3, violations={"m": 1.0})]
    records.append(trial(4, 0.05, x=0))
    assert [r.params["x"] for r in finalists(records, DOWN, 3, exclude={"x": 0})] == [1, 2]


def test_a_clear_gain_is_shipped_with_its_standard_error():
    winner, default = [0.70, 0.72, 0.71], [0.60, 0.62, 0.61]
    records = [final(i, 1, v) for i, v in enumerate(winner)] + [final(i + 3, 0, v) for i, v in enumerate(default)]
    found = verdict(records, UP, {"x": 0})
    assert found.ship is True
    assert found.gain == pytest.approx(0.10)
    pooled = math.sqrt((statistics.variance(winner) + statistics.variance(default)) / 2)
    assert found.standard_error == pytest.approx(pooled * math.sqrt(2 / 3))
    assert recommended([*records, trial(9, 0.99)], UP, found).params == {"x": 1}


def test_a_gain_inside_the_noise_is_not_shipped():
    records = [final(i, 1, v) for i, v in enumerate([0.5, 0.7, 0.62])]
    records += [final(i + 3, 0, v) for i, v in enumerate([0.6, 0.5, 0.7])]
    found = verdict(records, UP, {"x": 0})
    assert found.ship is False
    assert recommended(records, UP, found).params == {"x": 0}


def test_a_smaller_loss_is_a_gain():
    records = [final(i, 1, 0.1 + i / 1000) for i in range(3)] + [final(i + 3, 0, 0.2 + i / 1000) for i in range(3)]
    found = verdict(records, DOWN, {"x": 0})
    assert found.gain > 0
    assert found.ship is True


def test_a_finalist_that_failed_once_does_not_win():
    records = [
        final(0, 1, 0.9),
        final(1, 1, None),
        final(2, 2, 0.8),
        final(3, 2, 0.8),
        final(4, 0, 0.5),
        final(5, 0, 0.5),
    ]
    assert verdict(records, UP, {"x": 0}).winner.params == {"x": 2}


def test_one_run_each_cannot_tell_unless_the_baseline_knows_the_noise():
    once = [final(0, 1, 0.9), final(1, 0, 0.5)]
    assert verdict(once, UP, {"x": 0}).ship is False
    baseline = [trial(2 + i, v, 0, Purpose.BASELINE) for i, v in enumerate([0.49, 0.50, 0.51])]
    assert verdict([*once, *baseline], UP, {"x": 0}).ship is True


def test_before_the_finals_there_is_no_verdict():
    assert verdict([trial(0, 1.0)], UP, {"x": 0}) is None
    assert recommended([trial(0, 1.0), trial(1, 2.0)], UP, None).number == 1
    assert recommended([trial(0, None, cause=Cause.ERROR)], UP, None) is None
