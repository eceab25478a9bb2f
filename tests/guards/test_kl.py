import pytest

from guards.curves import curve, fires_at, guard, healthy, spoilt
from rltune.types import Cause


def test_a_blow_up_ends_the_trial_at_the_fifth_step_of_growth():
    run = spoilt(healthy(1), 40, lambda step: {"train/kl_penalty": 0.03 * 1.5 ** (step - 40)})
    step, verdict = fires_at(guard("kl"), run)
    assert step == 45
    assert verdict.cause is Cause.DIVERGED
    assert verdict.message == (
        "the KL to the reference grew from 0.03 at step 40 to 0.228 at step 45, by more than 15% at each of 5 "
        "measurements"
    )


def test_growth_near_zero_is_no_blow_up():
    values = [0.005 * 1.2**n for n in range(9)]  # up to 0.02
    assert fires_at(guard("kl", warm_up=0), curve(*values, metric="train/kl_penalty")) is None
    step, _ = fires_at(guard("kl", warm_up=0, floor=0.01), curve(*values, metric="train/kl_penalty"))
    assert step == 6


def test_a_run_may_leave_its_reference_at_the_beginning():
    """From zero, in proportion to the steps."""
    values = [0.03 * step for step in range(1, 20)]
    assert fires_at(guard("kl"), curve(*values, metric="train/kl_penalty")) is None
    assert fires_at(guard("kl", warm_up=0), curve(*values, metric="train/kl_penalty"))[0] == 6


def test_a_step_without_growth_begins_the_count_anew():
    values = [0.2, 0.3, 0.4, 0.6, 0.55, 0.7, 1.0, 1.5, 2.0]
    assert fires_at(guard("kl", warm_up=0), curve(*values, metric="train/kl_penalty")) is None


@pytest.mark.parametrize("name", ["train/kl_penalty", "kl", "loss/kl", "train/KL", "actor.kl"])
def test_names_that_trainers_give_it(name):
    assert fires_at(guard("kl", warm_up=0), curve(*(2.0**n for n in range(6)), metric=name))[0] == 6


def test_the_kl_of_validation_is_another_metric():
    values = [2.0**n for n in range(6)]
    for name in ("validation/kl", "validation-math/kl", "eval/kl", "val.kl"):
        assert fires_at(guard("kl", warm_up=0), curve(*values, metric=name)) is None
    assert fires_at(guard("kl", warm_up=0, metric="validation/kl"), curve(*values, metric="validation/kl"))[0] == 6


def test_options():
    assert fires_at(guard("kl", in_a_row=2, growth=0.5, warm_up=0), curve(1.0, 1.6, 2.5, metric="kl"))[0] == 3
