import pytest

from guards.curves import curve, fires_at, guard, healthy, spoilt
from rltune.guards import Mode
from rltune.types import Cause


def test_it_ends_nothing_unless_told_to():
    assert guard("mismatch").mode is Mode.SHADOW
    assert guard("mismatch", mode="kill").mode is Mode.KILL


def test_a_ratio_that_drifts_away_from_one():
    run = spoilt(healthy(2), 30, lambda step: {"train/token_mult_prob_error": 1 + 0.002 * (step - 30)})
    step, verdict = fires_at(guard("mismatch"), run)
    assert step == 45  # above 1.02 from step 41 on
    assert verdict.cause is Cause.MISMATCH
    assert verdict.message == (
        "generation and training disagree: the ratio of their probabilities is 1.03 at step 45, above 1.02 at 5 "
        "measurements in a row"
    )


@pytest.mark.parametrize("values", [[5e-3] * 5, [2e-3] * 5])
def test_a_kl_between_the_two_engines(values):
    assert "the KL between them" in fires_at(guard("mismatch"), curve(*values, metric="train/gen_kl_error"))[1].message


def test_a_single_bad_step_passes():
    assert fires_at(guard("mismatch"), curve(1.0, 1.5, 1.0, 1.5, 1.01, metric="train/token_mult_prob_error")) is None
