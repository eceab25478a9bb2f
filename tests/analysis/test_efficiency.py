"""Time: worked out by hand, and by counting seconds one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from analysis.study_records import trial
from rltune.analysis.efficiency import efficiency
from rltune.types import Cause, Purpose


def test_two_workers_by_hand():
    records = [
        trial(0, 0.5, ran=(0, 10)),
        trial(1, 0.5, ran=(0, 20)),
        trial(2, 0.1, ran=(10, 20), state=TrialState.PRUNED),
        trial(3, None, ran=(20, 30), cause=Cause.DIVERGED),
        trial(4, 0.5, ran=(50, 60), violations={"kl": 1.0}),  # the study was stopped for 20 s
        trial(5, None, ran=(50, 56), cause=Cause.LOST),
        trial(6, None, state=TrialState.RUNNING),
    ]
    found = efficiency(records, workers=2)
    assert found.cost_seconds == 66
    assert found.wall_seconds == 40
    assert found.efficiency == pytest.approx(66 / 80)
    assert found.idle_seconds == 14
    assert found.peak == 2
    assert found.mean_concurrency == pytest.approx(66 / 40)
    assert found.spent == {"complete": 30, "infeasible": 10, "pruned": 10, "failed": 10, "lost": 6}
    assert found.lost_seconds == 26


def test_a_lost_trial_ends_with_its_own_time():
    lost = trial(0, None, ran=(0, 5000), cause=Cause.LOST, metrics={"training_time": 30.0})
    found = efficiency([lost], workers=1)
    assert (found.cost_seconds, found.wall_seconds) == (30, 30)


def test_finals_count_and_an_earlier_session_may_have_had_more_workers():
    records = [trial(i, 0.5, ran=(0, 10), purpose=Purpose.FINAL) for i in range(4)]
    found = efficiency(records, workers=2)
    assert (found.workers, found.efficiency) == (4, 1.0)


def test_before_anything_ended():
    found = efficiency([trial(0, None, state=TrialState.RUNNING)], workers=3)
    assert (found.efficiency, found.mean_concurrency, found.spent) == (None, None, {})


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), min_size=1, max_size=12))
def test_as_if_every_second_were_counted(runs):
    records = [trial(i, 0.5, ran=(begin, begin + long)) for i, (begin, long) in enumerate(runs)]
    at_once = [sum(begin <= second < begin + long for begin, long in runs) for second in range(60)]
    found = efficiency(records, workers=1)
    assert found.peak == max(at_once)
    assert found.wall_seconds == sum(n > 0 for n in at_once)
    assert found.cost_seconds == sum(at_once)
    assert found.idle_seconds == sum(found.workers - n for n in at_once if n)
