"""The plan: phases in order, from the trials alone."""

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.records import TrialRecord
from rltune.types import Idle, Purpose

DEFAULT = {"lr": 0.1}


def plan(**changes):
    fields = {"n_search": 5, "default": DEFAULT, "baseline_seeds": 2, "finalists": 2, "final_seeds": 3}
    return Plan([Objective("loss", "minimize")], [], SeedLedger.of(7), **(fields | changes))


def play(plan, value=lambda params: abs(params["lr"] - 0.3), records=None):
    """Runs the plan to its end, one trial at a time; the k-th proposal of the sampler is lr = k / 10."""
    records = records if records is not None else []
    while (request := plan.next(records)) is not Idle.DONE:
        assert request is not Idle.WAIT
        params = request.params or {"lr": len(records) / 10}
        records.append(
            TrialRecord(len(records), TrialState.COMPLETE, request.purpose, params, request.seed, (value(params),))
        )
    return records


def test_phases_come_in_order_and_add_up():
    records = play(plan())
    assert [r.purpose for r in records] == [Purpose.BASELINE] * 2 + [Purpose.SEARCH] * 5 + [Purpose.FINAL] * 9
    assert len(records) == plan().n_trials == 16


def test_finalists_and_the_default_run_on_the_same_fresh_seeds():
    records = play(plan())
    finals = [r for r in records if r.purpose is Purpose.FINAL]
    arms = {r.params["lr"] for r in finals}
    assert arms == {0.3, 0.2, 0.1}
    seeds = {lr: [r.seed for r in finals if r.params["lr"] == lr] for lr in arms}
    assert len({tuple(s) for s in seeds.values()}) == 1
    assert not set(seeds[0.1]) & {r.seed for r in records if r.purpose is not Purpose.FINAL}


def test_no_two_search_trials_share_a_seed():
    seeds = [r.seed for r in play(plan(n_search=40)) if r.purpose is not Purpose.FINAL]
    assert len(set(seeds)) == 42


@pytest.mark.parametrize("cut", range(17))
def test_a_study_that_was_cut_anywhere_goes_on_as_if_it_had_not_been(cut):
    whole = play(plan())
    assert play(plan(), records=whole[:cut]) == whole


def test_finals_wait_for_the_search():
    records = play(plan(finalists=0))
    running = TrialRecord(len(records), TrialState.RUNNING, Purpose.SEARCH, {"lr": 0.9}, 1)
    assert plan().next([*records, running]) is Idle.WAIT


def test_time_that_is_up_ends_the_search_and_leaves_the_finals():
    records = play(plan())[:4]
    request = plan().next(records, search_is_over=True)
    assert request.purpose is Purpose.FINAL


def test_a_retry_is_not_counted_twice():
    records = play(plan(finalists=0))[:-1]
    lost = records[-1]
    retry = TrialRecord(
        len(records), TrialState.COMPLETE, lost.purpose, lost.params, lost.seed, (1.0,), retry_of=lost.number
    )
    more = play(plan(finalists=0), records=[*records, retry])
    assert len(more) == plan(finalists=0).n_trials + 1


def test_without_a_baseline_phase_the_default_is_the_first_of_the_search():
    records = play(plan(baseline_seeds=0, finalists=0))
    assert records[0].params == DEFAULT
    assert records[0].purpose is Purpose.SEARCH


def test_pools_of_seeds_are_disjoint_and_fit_32_bits():
    ledger = SeedLedger.of(3)
    pools = [{draw(i) for i in range(1000)} for draw in (ledger.search, ledger.select, ledger.claim)]
    assert len(set.union(*pools)) == 3000
    assert max(set.union(*pools)) < 2**31
    assert SeedLedger.of(3) == ledger != SeedLedger.of(4)
