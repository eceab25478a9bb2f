import pytest

from guards.curves import curve, fires_at, guard, healthy, spoilt
from rltune.types import Cause, Measurement

MIXED = "train/baseline_reward/pct_mixed"


def test_a_reward_of_nothing_but_zeros_ends_the_trial_at_the_tenth():
    step, verdict = fires_at(guard("no_signal"), curve(*[0.0] * 20, metric="train/reward"))
    assert step == 10
    assert verdict.cause is Cause.NO_SIGNAL
    assert verdict.message == "the training reward is 0 at step 10, and has not moved for 10 measurements"


def test_the_steps_of_a_warm_up_are_not_judged():
    assert fires_at(guard("no_signal", warm_up=5), curve(*[0.0] * 20, metric="train/reward"))[0] == 15


def test_one_reward_is_enough():
    assert fires_at(guard("no_signal"), curve(*[0.0] * 9, 0.01, *[0.0] * 9, metric="train/reward")) is None


def test_a_policy_that_gives_one_answer_to_everything():
    """It earns a little for the form, always the same; before that it was better."""
    assert fires_at(guard("no_signal"), curve(0.3, 0.2, *[0.1] * 10, metric="reward"))[0] == 12


def test_a_task_that_is_solved_is_well():
    assert fires_at(guard("no_signal"), curve(0.3, 0.8, *[1.0] * 20, metric="train/reward")) is None


def test_too_few_prompts_with_a_difference():
    run = spoilt(
        healthy(3),
        50,
        lambda step: {MIXED: 2.0, "train/baseline_reward/pct_1": 8.0, "train/baseline_reward/pct_0": 90.0},
    )
    step, verdict = fires_at(guard("no_signal"), run)
    assert step == 59
    assert verdict.message == (
        "the answers to 2.0% of the prompts differ in reward at step 59, less than 5% at 10 measurements in a row"
    )


@pytest.mark.parametrize(("solved", "expected"), [(97.0, None), (1.0, 10)])
def test_prompts_that_are_all_solved_do_not_differ_either(solved, expected):
    shares = {MIXED: 2.0, "train/baseline_reward/pct_1": solved, "train/baseline_reward/pct_0": 98.0 - solved}
    found = fires_at(guard("no_signal"), [Measurement(step, shares) for step in range(1, 20)])
    assert (found and found[0]) == expected


@pytest.mark.parametrize("name", ["frac_reward_zero_std", "train/zero_std_fraction"])
def test_the_share_without_a_difference_of_other_trainers(name):
    rewards = [0.3] + [0.1] * 5 + [0.11] * 15
    run = [Measurement(step, {name: 0.97, "train/reward": reward}) for step, reward in enumerate(rewards, 1)]
    assert fires_at(guard("no_signal"), run)[0] == 10
    solved = [Measurement(step, {name: 0.97, "train/reward": 0.3 + 0.03 * step}) for step in range(20)]
    assert fires_at(guard("no_signal"), solved) is None
