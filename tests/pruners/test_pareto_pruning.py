"""Pruning with several objectives, for which Optuna has no answer."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from rltune import records as rec
from rltune.objective import Objective
from rltune.pruners.pareto import ParetoPruning, _Step
from rltune.types import Measurement
from tuner_harness import make_tuner, run

TWO = [Objective("loss"), Objective("accuracy", "maximize")]

PRUNERS = {
    "median": MedianPruner(n_startup_trials=4),
    "percentile": PercentilePruner(50.0, n_startup_trials=4),
    "halving": SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
}


def dominated_shares(points):
    step = _Step(2)
    for number, losses in points.items():
        step.add(number, losses)
    return {number: step.share(number) for number in points}


def test_the_share_of_those_that_are_better_in_every_way():
    shares = dominated_shares({0: (1.0, 1.0), 1: (2.0, 2.0), 2: (3.0, 3.0), 3: (0.0, 9.0)})
    assert shares == {0: 0.0, 1: 1 / 3, 2: 2 / 3, 3: 0.0}


def test_equal_points_do_not_dominate_each_other():
    assert dominated_shares({0: (1.0, 1.0), 1: (1.0, 1.0)}) == {0: 0.0, 1: 0.0}
    assert dominated_shares({5: (1.0, 1.0)}) == {5: 0.0}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_whoever_is_dominated_has_a_larger_share(points):
    shares = dominated_shares(dict(enumerate(points)))
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            if all(x <= y for x, y in zip(a, b, strict=True)) and a != b:
                assert shares[i] < shares[j]


def test_a_measurement_that_lacks_an_objective_is_not_compared():
    pareto = ParetoPruning(TWO)
    assert not pareto.note(0, 1, {"loss": 1.0})
    assert pareto.note(0, 1, {"loss": 1.0, "accuracy": 0.5})


def curves(loss, accuracy, steps=4):
    def train(suggestion):
        for step in range(1, steps + 1):
            metrics = {"loss": loss(suggestion.number), "accuracy": accuracy(suggestion.number)}
            yield Measurement(step, metrics, seconds=60.0 * step)

    return train


@pytest.mark.parametrize("pruner", PRUNERS.values(), ids=PRUNERS)
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_what_is_dominated_is_pruned_and_the_front_is_kept(tmp_path, pruner, sampler):
    def loss(number):
        return float(number) if number % 3 else 0.1 * number

    def accuracy(number):
        return -float(number) if number % 3 else 0.1 * number  # of every third the loss is worse and this is better

    tuner = make_tuner(tmp_path, n=24, objectives=TWO, pruner=pruner)
    samplers = {
        "tpe": optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
        "nsga2": optuna.samplers.NSGAIISampler(seed=0),
    }
    tuner.study.sampler = samplers.get(sampler, tuner.study.sampler)
    records = run(tuner, curves(loss, accuracy))
    by_state = {state: [r.number for r in records if r.state is state] for state in TrialState}
    assert not by_state[TrialState.FAIL]
    assert all(number % 3 for number in by_state[TrialState.PRUNED])
    assert len(by_state[TrialState.PRUNED]) >= 6
    assert all(r.stopped_by == "pruner" for r in records if r.state is TrialState.PRUNED)


def test_time_counts_while_it_passes(tmp_path):
    """Slow trials with the same loss are dominated; seconds come from the measurements themselves."""

    def train(suggestion):
        slow = 10.0 if suggestion.number >= 5 else 1.0
        for step in range(1, 5):
            yield Measurement(step, {"loss": 1.0}, seconds=slow * step)

    objectives = [Objective("loss"), Objective("training_time")]
    tuner = make_tuner(tmp_path, n=8, objectives=objectives, pruner=MedianPruner(n_startup_trials=5))
    records = run(tuner, train)
    assert [r.state.name for r in records] == ["COMPLETE"] * 5 + ["PRUNED"] * 3
    assert records[5].metrics["training_time"] == 10.0


def test_a_study_that_goes_on_remembers_the_curves(tmp_path):
    def tuner(n):
        return make_tuner(tmp_path, n=n, objectives=TWO, pruner=MedianPruner(n_startup_trials=4))

    run(tuner(5), curves(float, lambda n: -float(n)))
    records = run(tuner(8), curves(float, lambda n: -float(n)))
    assert [r.state.name for r in records[5:]] == ["PRUNED"] * 3


def test_without_a_pruner_nothing_is_compared(tmp_path):
    tuner = make_tuner(tmp_path, n=6, objectives=TWO, pruner=NopPruner())
    assert {r.state for r in run(tuner, curves(float, lambda n: -float(n)))} == {TrialState.COMPLETE}


def test_optuna_can_still_use_the_study(tmp_path):
    tuner = make_tuner(tmp_path, n=10, objectives=TWO, pruner=PRUNERS["median"])
    run(tuner, curves(float, lambda n: -float(n)))
    study = tuner.study
    study.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    study.optimize(lambda trial: (trial.suggest_float("x", 0.0, 1.0), 0.0), n_trials=3)
    assert len(study.best_trials) >= 1
    assert len(rec.load(study)) == 13
