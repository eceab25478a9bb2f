"""What the baseline's seeds say of the gain that can be seen."""

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.audit import audit
from rltune.protocol.decision import Finals
from rltune.protocol.finals import Rules
from rltune.records import TrialRecord
from rltune.types import Purpose

UP = Objective("accuracy", "maximize")
FINALS = Finals(9, Rules(finalists=3, claim_seeds=3, most_claim_seeds=5))


def baseline(*values):
    return [TrialRecord(i, TrialState.COMPLETE, Purpose.BASELINE, {"x": 0}, i, (v,)) for i, v in enumerate(values)]


def test_the_noise_and_the_gain_that_it_hides():
    found = audit(baseline(0.50, 0.52, 0.54), UP, {"x": 0}, FINALS)
    assert found.spread.sd == pytest.approx(0.02)
    assert (found.n_seeds, found.claim_seeds) == (3, 3)
    assert 2.8 * 0.02 * (2 / 3) ** 0.5 < found.detectable < 0.08, "by Student's quantiles a little more than by 2.8 sd"
    assert not found.too_noisy


def test_a_wish_that_the_seeds_cannot_show_is_told_with_what_would():
    found = audit(baseline(0.50, 0.52, 0.54), UP, {"x": 0}, FINALS, wished=0.02)
    assert found.too_noisy
    assert 2 * (2.8 * 0.02 / 0.02) ** 2 <= found.needed <= 30
    enough = audit(baseline(0.50, 0.52, 0.54), UP, {"x": 0}, FINALS, wished=0.2)
    assert not enough.too_noisy
    assert enough.needed is None


def test_one_run_says_nothing_and_neither_do_finals_that_do_not_come():
    assert audit(baseline(0.5), UP, {"x": 0}, FINALS) is None
    assert audit(baseline(0.5, 0.6), UP, {"x": 0}, None) is None
