"""The best value so far, on studies small enough to be worked out by hand."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis.history import history
from rltune.analysis.metric import by_metric
from rltune.analysis.noise import noise
from rltune.errors import InputError
from rltune.objective import Objective
from rltune.types import Cause, Purpose

UP, DOWN = Objective("accuracy", "maximize"), Objective("loss", "minimize")
BASELINE, FINAL = Purpose.BASELINE, Purpose.FINAL


def test_over_trials_cost_and_wall_time():
    records = [
        trial(0, 0.5, ran=(0, 10), purpose=BASELINE),
        trial(1, 0.7, ran=(5, 30)),  # ends last of the three
        trial(2, 0.6, ran=(10, 20)),
        trial(3, 0.9, ran=(100, 110)),  # after a pause
        trial(4, 0.99, ran=(120, 130), purpose=FINAL),
    ]
    found = history(records, UP)
    assert [s.number for s in found.steps] == [0, 2, 1, 3]
    assert [s.best for s in found.steps] == [0.5, 0.6, 0.7, 0.9]
    assert [s.n_trials for s in found.steps] == [1, 2, 3, 4]
    assert [s.cost_seconds for s in found.steps] == [10, 20, 45, 55]
    assert [s.wall_seconds for s in found.steps] == [10, 20, 30, 40]
    assert [s.purpose for s in found.improvements] == [BASELINE, Purpose.SEARCH, Purpose.SEARCH, Purpose.SEARCH]
    assert found.best.number == 3
    assert found.n_since_best == 0


def test_only_feasible_trials_are_best_and_equal_ones_are_no_improvement():
    records = [
        trial(0, 0.1, violations={"kl": 1.0}),
        trial(1, 0.5, violations={"kl": -1.0}),
        trial(2, 0.5),
        trial(3, None, cause=Cause.DIVERGED),
        trial(4, 0.2, state=TrialState.PRUNED),
    ]
    found = history(records, DOWN)
    assert [s.best for s in found.steps] == [None, 0.5, 0.5, 0.5, 0.5]
    assert [s.value for s in found.steps] == [None, 0.5, 0.5, None, None]
    assert [s.number for s in found.improvements] == [1]
    assert found.n_since_best == 3


def test_what_was_run_again_costs_but_is_no_trial_of_its_own():
    records = [trial(0, None, cause=Cause.LOST, ran=(0, 10)), trial(1, 0.5, retry_of=0, ran=(10, 40))]
    (step,) = history(records, DOWN).steps
    assert (step.number, step.n_trials, step.cost_seconds) == (1, 1, 40)


def test_folds_side_by_side_cost_more_than_they_take():
    (step,) = history([trial(0, 0.5, ran=(0, 10), metrics={"training_time": 40.0})], DOWN).steps
    assert (step.cost_seconds, step.wall_seconds) == (40, 10)


def test_a_study_without_a_result():
    assert history([], UP).steps == ()
    assert history([], UP).n_since_best is None
    running = trial(0, None, state=TrialState.RUNNING)
    assert history([running, trial(1, None, cause=Cause.ERROR)], UP).best is None


@given(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=False), max_size=30))
def test_the_best_never_gets_worse_and_is_the_best_of_all(values):
    records = [trial(i, value) for i, value in enumerate(values)]
    best = [s.best for s in history(records, DOWN).steps]
    known = [b for b in best if b is not None]
    assert known == sorted(known, reverse=True)
    numbers = [v for v in values if v is not None and not math.isnan(v)]
    assert (best[-1] if best else None) == min(numbers, default=None)


def test_noise_is_the_sd_of_the_baseline():
    values = [0.50, 0.53, 0.49]
    records = [trial(i, v, purpose=BASELINE) for i, v in enumerate(values)]
    records += [trial(3, 0.9), trial(4, None, purpose=BASELINE, cause=Cause.ERROR), trial(5, 0.1, purpose=FINAL)]
    found = noise(records)
    assert found.n == 3
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.sd == pytest.approx(statistics.stdev(values))
    assert noise(records[:1]).sd is None
    assert noise(records[3:]) is None


def test_another_objective_by_its_metric():
    both = trial(0, 0.5)
    both = type(both)(**{**both.__dict__, "values": (0.5, 60.0)})
    assert by_metric([both], [UP, Objective("seconds")]).records[0].value == 0.5
    seen, objective = by_metric([both, trial(1)], [UP, Objective("seconds")], "seconds")
    assert objective.direction == "minimize"
    assert [r.value for r in seen] == [60.0, None]
    with pytest.raises(InputError, match=r"`second` is no objective.*`accuracy`, `seconds` \(did you mean `seconds`"):
        by_metric([both], [UP, Objective("seconds")], "second")
