"""What failed, what was stopped, and what was missed."""

import math

from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis.failures import failures, misses, stops
from rltune.types import Cause


def test_failures_by_cause_with_what_they_usually_say():
    records = [
        trial(0, None, cause=Cause.DIVERGED, message="`loss` is nan"),
        trial(1, None, cause=Cause.ERROR, message="ValueError: a\nTraceback"),
        trial(2, None, cause=Cause.ERROR, message="KeyError: b\nTraceback"),
        trial(3, None, cause=Cause.ERROR, message="KeyError: b\nanother Traceback", ran=(30, 45)),
        trial(4, None),  # put into the study by somebody else
        trial(5, 0.5, retry_of=1),
    ]
    error, diverged, lost = failures(records)
    assert (error.cause, error.trials, error.n_run_again) == (Cause.ERROR, (1, 2, 3), 1)
    assert (error.message, error.cost_seconds) == ("KeyError: b", 35)
    assert (diverged.cause, diverged.trials, diverged.message) == (Cause.DIVERGED, (0,), "`loss` is nan")
    assert (lost.cause, lost.trials, lost.message) == (Cause.LOST, (4,), "")
    assert failures([trial(0, 0.5)]) == ()


def test_stops_by_rule():
    records = [
        trial(0, 0.5, stopped_by="early_stopping"),
        trial(1, 0.5, stopped_by="pruner", state=TrialState.PRUNED),
        trial(2, None, state=TrialState.PRUNED),  # by somebody else
        trial(3, 0.5),
    ]
    pruner, early = stops(records)
    assert (pruner.rule, pruner.trials, pruner.cost_seconds) == ("pruner", (1, 2), 20)
    assert (early.rule, early.trials) == ("early_stopping", (0,))


def test_constraints_by_how_often_and_how_far_they_are_missed():
    records = [
        trial(0, 0.5, violations={"kl": 0.1, "memory": -5.0}),
        trial(1, 0.5, violations={"kl": 0.3, "memory": math.inf}),
        trial(2, 0.5, violations={"kl": 0.8, "memory": -1.0}),
        trial(3, 0.5, violations={"kl": 0.0, "memory": -1.0}),
        trial(4, None, cause=Cause.ERROR),
    ]
    kl, memory = misses(records)
    assert (kl.constraint, kl.trials, kl.n_complete, kl.least, kl.median) == ("kl", (0, 1, 2), 4, 0.1, 0.3)
    assert (memory.trials, memory.least) == ((1,), math.inf)
    assert misses([trial(0, 0.5, violations={"kl": -1.0})]) == ()
