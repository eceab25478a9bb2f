"""What the finals and the claim of a study say."""

import math

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.decision import Finals, arms_of, recommended, verdict
from rltune.protocol.finals import Rules
from rltune.records import TrialRecord
from rltune.types import Cause, Purpose

UP = Objective("accuracy", "maximize")
DOWN = Objective("loss", "minimize")
DEFAULT = {"x": 0}
FINALS = Finals(4, Rules(finalists=1, claim_seeds=2, most_claim_seeds=2))

BASELINE, SEARCH, FINAL, CLAIM = Purpose.BASELINE, Purpose.SEARCH, Purpose.FINAL, Purpose.CLAIM


def study(*runs):
    """Trials of `(purpose, x, value)`; None for one that failed. Each configuration goes through the same seeds."""
    records, had = [], {}
    for number, (purpose, x, value, *fields) in enumerate(runs):
        index = had[purpose, x] = had.get((purpose, x), -1) + 1
        pool = {BASELINE: 0, SEARCH: 100 + 10 * number, FINAL: 1000, CLAIM: 2000}[purpose]
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        values = None if value is None else (value,)
        extra = fields[0] if fields else {}
        records.append(TrialRecord(number, state, purpose, {"x": x}, pool + index, values, **extra))
    return records


def searched(best=0.71, default=0.60):
    """A baseline, and a search with three poor configurations and a good one."""
    runs = [(BASELINE, 0, default), (BASELINE, 0, default + 0.01), (BASELINE, 0, default - 0.01)]
    return [*runs, (SEARCH, 1, best), (SEARCH, 2, 0.40), (SEARCH, 3, 0.5), (SEARCH, 4, 0.45)]


def finals(best=(0.70, 0.71), default=(0.60, 0.61)):
    return [(FINAL, x, v) for pair in zip(best, default, strict=True) for x, v in zip((1, 0), pair, strict=True)]


def claims(best=(0.69, 0.70), default=(0.61, 0.60)):
    return [(CLAIM, x, v) for pair in zip(best, default, strict=True) for x, v in zip((1, 0), pair, strict=True)]


def test_a_gain_that_holds_on_untouched_seeds_is_shipped():
    records = study(*searched(), *finals(), *claims())
    found = verdict(records, UP, DEFAULT, FINALS)
    assert found.ship is True
    assert found.seeds == "claim"
    assert found.gain == pytest.approx(0.09)
    assert found.low < 0.09 < found.high
    assert (found.winner.values, found.default.values) == ((0.69, 0.70), (0.61, 0.60))
    assert found.p_better > 0.99
    assert recommended(records, UP, found).number == 3, "where it was found"


def test_a_smaller_loss_is_a_gain():
    runs = [*searched(), *finals(), *claims()]
    records = study(*((purpose, x, 1 - value) for purpose, x, value in runs))
    found = verdict(records, DOWN, DEFAULT, FINALS)
    assert found.ship is True
    assert found.gain == pytest.approx(0.09)
    assert found.winner.values == pytest.approx((0.31, 0.30))


def test_without_evidence_the_default_is_kept_and_nothing_is_claimed():
    records = study(*searched(best=0.63), *finals(best=(0.59, 0.60)))
    found = verdict(records, UP, DEFAULT, FINALS)
    assert found.ship is False
    assert found.seeds == "final"
    assert found.gain == pytest.approx(-0.01)
    assert math.isfinite(found.detectable)
    assert recommended(records, UP, found).params == DEFAULT


def test_what_the_finals_promise_may_not_hold():
    records = study(*searched(best=0.66), *finals(best=(0.64, 0.65)), *claims(best=(0.50, 0.51)))
    found = verdict(records, UP, DEFAULT, FINALS)
    assert (found.ship, found.seeds) == (False, "claim")
    assert found.gain == pytest.approx(-0.10)
    assert recommended(records, UP, found).params == DEFAULT


def test_nothing_is_decided_before_the_last_run():
    whole = study(*searched(), *finals(), *claims())
    assert verdict(whole[:7], UP, DEFAULT, FINALS) is None
    for n in range(8, len(whole)):
        assert verdict(whole[:n], UP, DEFAULT, FINALS).ship is None
    assert verdict(whole, UP, DEFAULT, FINALS).ship is True


def test_the_nomination_knows_nothing_of_the_claim():
    before = study(*searched(), *finals())
    nominated = FINALS.nominated(arms_of(before, UP, DEFAULT))
    assert nominated is not None
    tainted = study(*searched(), *finals(), *claims(best=(-99.0, -99.0), default=(99.0, 99.0)))
    assert FINALS.nominated(arms_of(tainted, UP, DEFAULT)) == nominated


def test_a_finalist_that_fails_on_a_fresh_seed_is_out():
    records = study(
        *searched(), (FINAL, 1, None, {"cause": Cause.DIVERGED}), (FINAL, 0, 0.6), (FINAL, 3, 0.8), (FINAL, 3, 0.8)
    )
    found = verdict(records, UP, DEFAULT, Finals(4, Rules(finalists=2, claim_seeds=0)))
    assert found.winner is None or found.winner.params == {"x": 3}


def test_a_default_without_any_value_cannot_be_compared_with():
    failed = {"cause": Cause.DIVERGED}
    runs = [(BASELINE, 0, None, failed), *searched()[3:], (FINAL, 1, 0.7), (FINAL, 1, 0.71)]
    found = verdict(study(*runs), UP, DEFAULT, FINALS)
    assert found.default is None
    assert found.ship is None
    assert recommended(study(*runs), UP, found).params == {"x": 1}


def test_without_a_claim_the_finals_decide():
    no_claim = Finals(4, Rules(finalists=1, claim_seeds=0, most_claim_seeds=0))
    found = verdict(study(*searched(), *finals()), UP, DEFAULT, no_claim)
    assert (found.ship, found.seeds) == (True, "final")


def test_before_the_finals_the_best_single_run_counts():
    records = study((SEARCH, 1, 0.5), (SEARCH, 2, 0.9))
    assert verdict(records, UP, DEFAULT, FINALS) is None
    assert recommended(records, UP, None).params == {"x": 2}
    assert recommended(study((SEARCH, 1, None)), UP, None) is None


def test_how_it_is_run_survives_the_journal():
    assert Finals.from_json(FINALS.to_json()) == FINALS


def test_a_finalist_that_failed_on_all_fresh_seeds_is_not_shipped_by_its_single_run():
    failed = {"cause": Cause.COLLAPSED}
    records = study(*searched(), (FINAL, 1, None, failed), (FINAL, 1, None, failed))
    found = verdict(records, UP, DEFAULT, FINALS)
    assert found is not None
    assert recommended(records, UP, found).params != {"x": 1}


def test_a_default_that_fails_on_the_untouched_seeds_makes_way():
    failed = {"cause": Cause.DIVERGED}
    claimed = [(CLAIM, 1, 0.70), (CLAIM, 0, None, failed), (CLAIM, 1, 0.71), (CLAIM, 0, None, failed)]
    found = verdict(study(*searched(), *finals(), *claimed), UP, DEFAULT, FINALS)
    assert found.ship is True
    assert math.isnan(found.gain)


@pytest.mark.parametrize("others", [[], [(SEARCH, 2, 0.99), (SEARCH, 3, 0.99), (SEARCH, 4, 0.40)]])
def test_a_search_whose_better_half_is_alike_does_not_outweigh_fresh_runs(others):
    """One survivor, lucky once; or an accuracy that saturates."""
    baseline = [(BASELINE, 0, 0.80), (BASELINE, 0, 0.81), (BASELINE, 0, 0.79)]
    runs = [*baseline, (SEARCH, 1, 0.99), *others]
    fresh = [(FINAL, 1, 0.40), (FINAL, 0, 0.80), (FINAL, 1, 0.41)]
    records = study(*runs, *fresh)
    found = verdict(records, UP, DEFAULT, FINALS)
    assert found.ship is not True
    assert found.p_better < 0.5
