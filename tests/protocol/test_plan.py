"""The plan: phases in order, from the trials alone."""

import math

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.decision import Finals
from rltune.protocol.finals import Rules
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.records import TrialRecord
from rltune.types import Idle, Purpose

DEFAULT = {"lr": 0.9}

FINALS = Finals(9, Rules(finalists=2, claim_seeds=2, most_claim_seeds=3))


def plan(**changes):
    fields = {"n_search": 5, "default": DEFAULT, "baseline_seeds": 2, "finals": FINALS}
    return Plan([Objective("loss", "minimize")], [], SeedLedger.of(7), **(fields | changes))


def noisy(params, seed):
    """Best at 0.3; the same run gives the same value."""
    return abs(params["lr"] - 0.3) + 0.02 * math.sin(seed * 12.9898 + params["lr"])


def play(plan, value=noisy, records=None):
    """Runs the plan to its end, one trial at a time; the k-th proposal of the sampler is lr = k / 10."""
    records = records if records is not None else []
    while (request := plan.next(records)) is not Idle.DONE:
        assert request is not Idle.WAIT
        params = request.params or {"lr": len(records) / 10}
        worth = value(params, request.seed)
        records.append(TrialRecord(len(records), TrialState.COMPLETE, request.purpose, params, request.seed, (worth,)))
    return records


def test_phases_come_in_order_and_add_up():
    records = play(plan())
    purposes = [r.purpose for r in records]
    assert purposes == sorted(purposes, key=list(Purpose).index)
    n = {purpose: purposes.count(purpose) for purpose in Purpose}
    assert (n[Purpose.BASELINE], n[Purpose.SEARCH]) == (2, 5)
    assert 0 < n[Purpose.FINAL] <= 9
    assert n[Purpose.CLAIM] in (4, 6), "what the finals leave goes to the claim, up to 3 seeds each"
    assert len(records) <= plan().n_trials == 20
    assert plan().phases == {"baseline": 2, "search": 5, "final": 9, "claim": 4}


def test_finalists_and_the_default_run_on_common_fresh_seeds():
    records = play(plan())
    finals = [r for r in records if r.purpose is Purpose.FINAL]
    assert 0.3 in {r.params["lr"] for r in finals}
    seeds = {lr: [r.seed for r in finals if r.params["lr"] == lr] for lr in {r.params["lr"] for r in finals}}
    longest = max(seeds.values(), key=len)
    assert all(each == longest[: len(each)] for each in seeds.values())
    assert not set(longest) & {r.seed for r in records if r.purpose is not Purpose.FINAL}


def test_the_claim_is_the_winner_and_the_default_on_seeds_that_nobody_has_seen():
    records = play(plan())
    claims = [r for r in records if r.purpose is Purpose.CLAIM]
    assert {r.params["lr"] for r in claims[::2]} == {0.3}
    assert {r.params["lr"] for r in claims[1::2]} == {0.9}
    assert [r.seed for r in claims[::2]] == [r.seed for r in claims[1::2]]
    assert not {r.seed for r in claims} & {r.seed for r in records if r.purpose is not Purpose.CLAIM}


def test_nothing_is_claimed_where_nothing_beats_the_default():
    records = play(plan(default={"lr": 0.3}))
    assert not [r for r in records if r.purpose is Purpose.CLAIM]


def test_no_two_search_trials_share_a_seed():
    seeds = [r.seed for r in play(plan(n_search=40)) if r.purpose in (Purpose.BASELINE, Purpose.SEARCH)]
    assert len(set(seeds)) == 42


@pytest.mark.parametrize("cut", range(21))
def test_a_study_that_was_cut_anywhere_goes_on_as_if_it_had_not_been(cut):
    whole = play(plan())
    assert play(plan(), records=whole[:cut]) == whole


def test_finals_wait_for_the_search():
    records = play(plan(finals=None))
    running = TrialRecord(len(records), TrialState.RUNNING, Purpose.SEARCH, {"lr": 0.9}, 1)
    assert plan().next([*records, running]) is Idle.WAIT


def test_time_that_is_up_ends_the_search_and_leaves_the_finals():
    records = play(plan())[:4]
    request = plan().next(records, search_is_over=True)
    assert request.purpose is Purpose.FINAL


def test_a_retry_is_not_counted_twice():
    records = play(plan(finals=None))[:-1]
    lost = records[-1]
    retry = TrialRecord(
        len(records), TrialState.COMPLETE, lost.purpose, lost.params, lost.seed, (1.0,), retry_of=lost.number
    )
    more = play(plan(finals=None), records=[*records, retry])
    assert len(more) == plan(finals=None).n_trials + 1


def test_without_a_baseline_phase_the_default_is_the_first_of_the_search():
    records = play(plan(baseline_seeds=0, finals=None))
    assert records[0].params == DEFAULT
    assert records[0].purpose is Purpose.SEARCH


def test_pools_of_seeds_are_disjoint_and_fit_32_bits():
    ledger = SeedLedger.of(3)
    pools = [{draw(i) for i in range(1000)} for draw in (ledger.search, ledger.select, ledger.claim)]
    assert len(set.union(*pools)) == 3000
    assert max(set.union(*pools)) < 2**31
    assert SeedLedger.of(3) == ledger != SeedLedger.of(4)
