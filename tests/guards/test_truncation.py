import pytest

from guards.curves import curve, fires_at, guard
from rltune.types import Cause


@pytest.mark.parametrize("name", ["train/truncation_rate", "truncation_rate", "completions/clipped_ratio"])
def test_most_answers_cut_off_for_ten_steps(name):
    step, verdict = fires_at(guard("truncation"), curve(0.1, *[0.7] * 12, metric=name))
    assert step == 11
    assert verdict.cause is Cause.COLLAPSED
    assert verdict.message == (
        "70% of the answers are cut off at the length limit at step 11, more than 50% at 10 measurements in a row"
    )


def test_a_policy_that_is_learning_to_be_brief():
    assert fires_at(guard("truncation"), curve(*(0.95 - n / 50 for n in range(20)), metric="truncation_rate")) is None


def test_clipped_ratios_of_the_loss_are_something_else():
    assert fires_at(guard("truncation"), curve(*[0.9] * 20, metric="clip_ratio/high_mean")) is None
