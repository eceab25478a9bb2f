import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.curves import OBJECTIVE, curve, fires_at, guard, healthy, spoilt
from rltune.guards import make_guard
from rltune.types import Cause, Measurement


def evaluations(*values):
    return curve(*values, metric=OBJECTIVE)


class TestDeclines:
    def test_the_third_clear_decline_ends_the_trial(self):
        step, verdict = fires_at(guard("collapse"), evaluations(0.5, 0.55, 0.48, 0.42, 0.35, 0.3))
        assert step == 5
        assert verdict.cause is Cause.COLLAPSED
        assert verdict.message == (
            "`validation/accuracy` went from 0.55 at step 2 to 0.35 at step 5, worse by more than 0.03 each of 3 times"
        )

    def test_declines_within_the_noise(self):
        assert fires_at(guard("collapse"), evaluations(0.5, 0.48, 0.455, 0.43, 0.41)) is None
        assert fires_at(guard("collapse", standard_error=0.01), evaluations(0.5, 0.48, 0.455, 0.43))[0] == 4

    def test_steps_without_an_evaluation_do_not_count(self):
        run = [Measurement(s, {OBJECTIVE: 0.6 - s / 100} if s % 10 == 0 else {"train/loss": 0.0}) for s in range(60)]
        assert fires_at(guard("collapse"), run)[0] == 30

    def test_a_loss_declines_upwards(self):
        judge = make_guard("collapse", {"standard_error": 0.1}, objective="loss", direction="minimize")
        assert fires_at(judge, curve(2.0, 1.5, 1.0, 0.5, metric="loss")) is None
        assert fires_at(judge, curve(0.5, 1.0, 1.5, 2.0, metric="loss"))[0] == 4


class TestFall:
    def test_a_policy_that_broke_between_two_evaluations(self):
        step, verdict = fires_at(guard("collapse"), evaluations(0.48, 0.01, 0.02, 0.01, 0.0))
        assert step == 4
        assert verdict.message == (
            "`validation/accuracy` is 0.01 at step 4, and for 3 evaluations was more than 0.24 worse than its best, "
            "0.48"
        )

    def test_a_dip_is_forgiven(self):
        assert fires_at(guard("collapse"), evaluations(0.48, 0.01, 0.1, 0.3, 0.5)) is None

    def test_a_small_number_may_halve_by_chance(self):
        assert fires_at(guard("collapse"), evaluations(0.08, 0.03, 0.02, 0.03, 0.04)) is None


class TestEntropy:
    def test_entropy_that_is_spent_for_nothing(self):
        run = [
            Measurement(s, {"train/approx_entropy": 1.0 if s < 20 else 0.01} | ({OBJECTIVE: 0.3} if s % 5 == 0 else {}))
            for s in range(40)
        ]
        step, verdict = fires_at(guard("collapse"), run)
        assert step == 22
        assert verdict.message == (
            "the entropy is all but gone at step 22, and `validation/accuracy` was never clearly better than the "
            "0.3 it began with"
        )

    def test_entropy_that_has_bought_accuracy(self):
        """One bad evaluation afterwards is not held against it."""
        run = [Measurement(s, {"train/entropy": 0.5**s, OBJECTIVE: 0.3 + s / 50}) for s in range(20)]
        run.append(Measurement(20, {"train/entropy": 1e-6, OBJECTIVE: 0.25}))
        assert fires_at(guard("collapse"), run) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_run_that_only_gets_better_never_collapses(values):
    assert fires_at(guard("collapse"), evaluations(*sorted(values))) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_breaks_halfway_is_ended_at_its_third_bad_evaluation(seed):
    broken = spoilt(healthy(seed), 55, lambda step: {OBJECTIVE: 0.0} if step % 5 == 0 else {})
    assert fires_at(guard("collapse"), broken)[0] == 65
