"""A guard in shadow mode writes down what it would have done, and ends nothing."""

import math

import pytest

from rltune import records as rec
from rltune.analysis.failures import shadows, stops
from rltune.evaluation.folds import Folding
from rltune.folder import read_json
from rltune.guards import make_guard
from rltune.objective import Objective
from rltune.records import ShadowStop
from rltune.types import Cause, Idle, Measurement, Outcome
from tuner_harness import curve, make_tuner, run

FALLING = (0.9, 0.7, 0.5, 0.3, 0.2)


def falling_guard(mode="shadow"):
    """Of a score that is minimised in the harness: it collapses by rising."""
    return make_guard("collapse", {"mode": mode}, objective="loss", direction="minimize")


def rising(*, factor=1.0):
    return curve(*(factor * value for value in reversed(FALLING)))


def test_the_same_guard_ends_the_trial_where_it_is_told_to(tmp_path):
    (record,) = run(make_tuner(tmp_path, n=1, guards=[falling_guard("kill")]), rising())
    assert record.cause is Cause.COLLAPSED
    assert record.shadow_stops == ()
    assert len(record.curve) == 4


def test_in_shadow_mode_the_trial_has_its_value_and_the_verdict_is_written_down(tmp_path):
    (record,) = run(make_tuner(tmp_path, n=1, guards=[falling_guard()]), rising())
    assert record.cause is None
    assert record.value == 0.9
    message = "`loss` went from 0.2 at step 1 to 0.7 at step 4, worse by more than 0.03 each of 3 times"
    assert record.shadow_stops == (ShadowStop("collapse", 4, 240.0, Cause.COLLAPSED, message),)
    assert record.to_json()["shadow_stops"] == [
        {"guard": "collapse", "step": 4, "seconds": 240.0, "cause": "collapsed", "message": message}
    ]


def test_it_is_in_the_trials_own_file_too(tmp_path):
    tuner = make_tuner(tmp_path, n=1, guards=[falling_guard()])
    run(tuner, rising())
    assert read_json(tuner.folder.trial(0).result)["shadow_stops"][0]["step"] == 4


def test_a_guard_in_shadow_mode_leaves_room_for_the_next(tmp_path):
    guards = [falling_guard(), make_guard("divergence", {}, objective="loss")]
    (record,) = run(make_tuner(tmp_path, n=1, guards=guards), curve(0.2, 0.3, 0.5, 0.7, math.nan))
    assert record.cause is Cause.DIVERGED
    assert [stop.guard for stop in record.shadow_stops] == ["collapse"]


def test_two_guards_of_one_name_are_two(tmp_path):
    early = make_guard("collapse", {"mode": "shadow", "declines": 2}, objective="loss", direction="minimize")
    (record,) = run(make_tuner(tmp_path, n=1, guards=[falling_guard(), early]), rising())
    assert [(stop.guard, stop.step) for stop in record.shadow_stops] == [("collapse", 3), ("collapse", 4)]


def test_what_it_saw_outlives_a_tuner_that_is_killed(tmp_path):
    tuner = make_tuner(tmp_path, n=1, guards=[falling_guard()])
    suggestion = tuner.suggest()
    assert not isinstance(suggestion, Idle)
    for step, value in enumerate(reversed(FALLING), 1):
        tuner.observe(suggestion.job, Measurement(step, {"loss": value}))
    del tuner
    again = make_tuner(tmp_path, n=1, guards=[falling_guard()])
    assert again.records[0].cause is Cause.LOST
    assert [stop.step for stop in again.records[0].shadow_stops] == [4]


def test_each_fold_is_judged_for_itself(tmp_path):
    def train(suggestion):
        yield from (rising() if suggestion.fold == 1 else curve(0.5, 0.5))(suggestion)

    (record,) = run(make_tuner(tmp_path, n=1, folding=Folding(3), guards=[falling_guard()]), train)
    assert record.cause is None
    (stop,) = record.shadow_stops
    assert stop.message.startswith("fold 1 of 3: `loss` went from 0.2")


def test_the_report_counts_them_apart_from_what_was_stopped(tmp_path):
    def train(suggestion):
        yield from (rising(factor=1 + suggestion.number) if suggestion.number < 3 else curve(0.1, 0.1))(suggestion)

    records = run(make_tuner(tmp_path, n=5, guards=[falling_guard()]), train)
    assert stops(records) == ()
    (found,) = shadows(records, Objective("loss"))
    assert (found.guard, found.trials, found.n_values, found.best) == ("collapse", (0, 1, 2), 3, 0.9)
    assert found.saved_seconds == pytest.approx(3 * 60.0)
    assert found.message.startswith("`loss` went from 0.2 at step 1")


def test_a_study_without_shadow_mode_has_none(tmp_path):
    records = run(make_tuner(tmp_path, n=2), rising())
    assert shadows(records, Objective("loss")) == ()
    assert rec.load(make_tuner(tmp_path, n=2).study)[0].shadow_stops == ()


@pytest.mark.parametrize("cause", [Cause.NO_SIGNAL, Cause.REWARD_HACKING])
def test_a_training_that_teaches_nothing_does_not_speak_against_the_trainer(tmp_path, cause):
    tuner = make_tuner(tmp_path, n=20, max_failures=3, first_failures=100)
    for _ in range(5):
        tuner.finish(tuner.suggest().job, Outcome(cause, "so it is"))
    assert tuner.halted is None


@pytest.mark.parametrize("cause", [Cause.MISMATCH, Cause.STALLED])
def test_machinery_that_fails_again_and_again_ends_the_study(tmp_path, cause):
    tuner = make_tuner(tmp_path, n=20, max_failures=3, first_failures=100)
    for _ in range(3):
        tuner.finish(tuner.suggest().job, Outcome(cause, "so it is"))
    assert tuner.halted == "3 trials in a row failed"
