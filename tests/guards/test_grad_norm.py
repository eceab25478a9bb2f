from guards.curves import curve, fires_at, guard
from rltune.types import Cause


def norms(*values):
    return curve(*values, metric="train/grad_norm")


def test_three_norms_far_above_the_median_end_the_trial():
    step, verdict = fires_at(guard("grad_norm"), norms(*[0.5] * 20, 30, 40, 50, 60))
    assert step == 23
    assert verdict.cause is Cause.DIVERGED
    assert verdict.message == (
        "the gradient norm is 50 at step 23, and was more than 20 times its median of 0.5 at 3 measurements in a row"
    )


def test_a_spike_is_clipped_and_passes():
    assert fires_at(guard("grad_norm"), norms(*[0.5] * 20, 30, 40, 0.6, 50, 60, 0.5)) is None


def test_the_first_gradient_after_none_is_no_explosion():
    assert fires_at(guard("grad_norm"), norms(*[1e-6] * 20, 0.3, 0.4, 0.5)) is None


def test_a_median_of_few_values_says_nothing():
    assert fires_at(guard("grad_norm"), norms(*[0.5] * 9, 30, 40, 50)) is None
