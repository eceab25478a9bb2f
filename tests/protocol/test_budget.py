"""What trials cost, and how a plan keeps within its budget."""

import datetime as dt
import random

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.budget import Budget, FullRun
from rltune.protocol.decision import Finals
from rltune.protocol.finals import Rules
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.records import TrialRecord
from rltune.types import Cause, Idle, Purpose

START = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - Optuna's times are naive


def trial(number, steps, *, state=TrialState.COMPLETE, hours=1.0, **fields):
    curve = dict.fromkeys(range(1, steps + 1), 1.0)
    values = (1.0,) if state is TrialState.COMPLETE else None
    times = {"started": START, "finished": START + dt.timedelta(hours=hours)}
    purpose = fields.pop("purpose", Purpose.SEARCH)
    return TrialRecord(number, state, purpose, {"x": number}, number, values, curve=curve, **times, **fields)


def test_a_pruned_trial_costs_what_it_ran():
    records = [
        trial(0, 9),
        trial(1, 3, state=TrialState.PRUNED),
        trial(2, 0, state=TrialState.FAIL, cause=Cause.ERROR, hours=0.0),
    ]
    assert Budget(20, "FRE", FullRun(horizon=9)).spent(records) == pytest.approx(1 + 1 / 3)


def test_without_a_horizon_time_tells():
    metrics = [{"training_time": t} for t in (100.0, 120.0, 30.0)]
    records = [trial(0, 0, metrics=metrics[0]), trial(1, 0, metrics=metrics[1])]
    records.append(trial(2, 0, state=TrialState.PRUNED, metrics=metrics[2]))
    assert Budget(20, "FRE").spent(records) == pytest.approx(2 + 30 / 110)


def test_what_runs_counts_as_what_it_may_become():
    running = trial(1, 2, state=TrialState.RUNNING)
    assert Budget(20, "FRE", FullRun(horizon=10)).spent([trial(0, 10), running]) == 2.0


def test_a_run_that_is_repeated_is_free_in_full_runs_and_paid_in_gpu_hours():
    lost = trial(0, 5, state=TrialState.FAIL, cause=Cause.LOST, hours=0.5)
    records = [lost, trial(1, 10, retry_of=0, hours=1.0)]
    assert Budget(20, "FRE", FullRun(horizon=10)).spent(records) == 1.0
    assert Budget(20, "GPU-hours", FullRun(gpus=4)).spent(records) == pytest.approx(4 * 1.5)


def test_gpu_hours_become_runs_once_the_baseline_tells_what_one_costs():
    budget = Budget(100, "GPU-hours", FullRun(gpus=2))
    assert budget.n_runs([]) is None
    baseline = [trial(n, 1, hours=h, purpose=Purpose.BASELINE) for n, h in enumerate((0.9, 1.0, 5.0))]
    assert budget.n_runs([*baseline, trial(3, 1, hours=9.0)]) == 50


@pytest.mark.parametrize("amount", [12, 20, 40])
def test_a_study_never_spends_more_and_keeps_its_finals(amount):
    """Most trials are pruned at a random step, so there are many more of them than the budget has full runs."""
    rng, budget = random.Random(amount), Budget(amount, "FRE", FullRun(horizon=9))
    finals = Finals(4, Rules(finalists=1, claim_seeds=1))
    plan = Plan(
        [Objective("loss", "minimize")],
        [],
        SeedLedger.of(1),
        n_search=10_000,
        default={"x": -1},
        baseline_seeds=2,
        finals=finals,
        budget=budget,
    )
    records = []
    while (request := plan.next(records)) is not Idle.DONE:
        full = request.purpose is not Purpose.SEARCH or rng.random() < 0.2
        state = TrialState.COMPLETE if full else TrialState.PRUNED
        made = trial(len(records), 9 if full else rng.randint(1, 8), state=state)
        params = request.params or made.params
        worth = (rng.gauss(0.5, 0.1),) if full else None
        fields = {**vars(made), "purpose": request.purpose, "params": params, "seed": request.seed, "values": worth}
        records.append(TrialRecord(**fields))
        assert budget.spent(records) <= amount
    n = {purpose: sum(r.purpose is purpose for r in records) for purpose in Purpose}
    assert n[Purpose.FINAL] <= 4
    assert n[Purpose.SEARCH] > amount - 8, "cheap trials leave room for others"
    searched = [r for r in records if r.purpose in (Purpose.BASELINE, Purpose.SEARCH)]
    limit = amount - plan.within_budget(records).n_after
    assert limit - 2 < budget.spent(searched) <= limit, "what finals and claim may need is kept back"


def test_several_objectives_keep_no_curve_and_still_cost():
    records = [trial(0, 0, metrics={"training_time": 100.0}), trial(1, 0, metrics={"training_time": 100.0})]
    assert Budget(20, "FRE", FullRun(horizon=9)).spent(records) == 2.0
