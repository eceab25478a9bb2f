"""Cross-validated trials: one run a fold, over a real journal and simulated trainings."""

import math
from dataclasses import replace

import pytest
from optuna.pruners import MedianPruner
from optuna.trial import TrialState

from rltune import records as rec
from rltune.evaluation.folds import Folding, fold_values
from rltune.evaluation.kept import keep
from rltune.folder import TrialDir
from rltune.guards import make_guard
from rltune.objective import Constraint, Objective
from rltune.testing.simulator import SimulatedExecutor
from rltune.types import Cause, Decision, Idle, Measurement, Outcome, Suggestion, Usage
from tuner_harness import make_tuner

FIVE = Folding(5, race=False)


def fold_scores(score):
    """A training whose every fold takes a minute and measures `score(suggestion)` at its end."""

    def train(suggestion):
        yield Measurement(1, {"loss": score(suggestion)}, seconds=60.0)

    return train


def run(tuner, train, workers=1):
    executor = SimulatedExecutor(workers)
    executor.run(tuner, train)
    tuner.close()
    return rec.load(tuner.study)


def test_a_trial_is_the_mean_of_its_folds_and_keeps_each(tmp_path):
    (record,) = run(make_tuner(tmp_path, n=1, folding=FIVE), fold_scores(lambda s: float(s.fold)))
    assert record.values == (2.0,)
    assert record.metrics["loss/fold_sd"] == pytest.approx(math.sqrt(2.5))
    assert fold_values(record.metrics, "loss", 5) == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
    assert record.metrics["training_time"] == 300.0
    assert sorted(record.curve) == [1, 2, 3, 4, 5]
    assert record.curve[5] == 2.0


def test_folds_come_in_an_order_of_each_trials_own_but_fixed(tmp_path):
    def orders(path):
        seen: dict[int, list[int]] = {}

        def train(suggestion):
            seen.setdefault(suggestion.number, []).append(suggestion.fold)
            yield Measurement(1, {"loss": 1.0})

        run(make_tuner(path, n=6, folding=FIVE), train)
        return list(seen.values())

    first = orders(tmp_path / "a")
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in first)
    assert len(set(map(tuple, first))) > 1
    assert orders(tmp_path / "b") == first


def test_every_fold_has_its_own_folder_and_one_seed(tmp_path):
    seen: list[Suggestion] = []

    def train(suggestion):
        seen.append(suggestion)
        yield Measurement(1, {"loss": 1.0})

    tuner = make_tuner(tmp_path, n=2, folding=Folding(3, repeats=2, race=False))
    run(tuner, train)
    assert len({s.directory for s in seen}) == len({s.job for s in seen}) == 12
    assert {s.directory.parent for s in seen} == {tuner.folder.trial(n).path for n in (0, 1)}
    for number in (0, 1):
        of_trial = [s for s in seen if s.number == number]
        assert {(s.fold, s.repeat) for s in of_trial} == {(f, r) for f in range(3) for r in range(2)}
        assert {s.n_folds for s in of_trial} == {3}
        assert len({s.seed for s in of_trial}) == 1
        assert len({tuple(s.params.items()) for s in of_trial}) == 1
    assert all((s.directory / "metrics.jsonl").exists() for s in seen)


def test_folds_of_one_trial_run_side_by_side_where_that_is_asked_for(tmp_path):
    executor = SimulatedExecutor(4)
    tuner = make_tuner(tmp_path, n=1, folding=Folding(4, at_once=4, race=False))
    executor.run(tuner, fold_scores(lambda s: 1.0))
    assert executor.now == 60.0
    assert rec.load(tuner.study)[0].metrics["training_time"] == 240.0


def test_else_workers_take_other_trials(tmp_path):
    executor = SimulatedExecutor(2)
    tuner = make_tuner(tmp_path, n=2, folding=FIVE)
    executor.run(tuner, fold_scores(lambda s: 1.0))
    assert executor.now == 300.0
    assert [r.state for r in rec.load(tuner.study)] == [TrialState.COMPLETE] * 2


def test_a_fold_that_fails_ends_its_trial_at_once(tmp_path):
    folds = []

    def train(suggestion):
        folds.append(suggestion.fold)
        if len(folds) == 2:
            raise ValueError("no such file")
        yield Measurement(1, {"loss": 1.0})

    (record,) = run(make_tuner(tmp_path, n=1, folding=FIVE), train)
    assert record.cause is Cause.ERROR
    assert record.message.startswith(f"fold {folds[1]} of 5: ValueError: no such file")
    assert len(folds) == 2


def test_a_fold_without_a_value_is_named(tmp_path):
    def train(suggestion):
        yield Measurement(1, {"loss" if suggestion.fold != 3 else "reward": 1.0})

    (record,) = run(make_tuner(tmp_path, n=1, folding=FIVE), train)
    assert record.cause is Cause.NO_VALUE
    assert "fold 3 of 5: the trial ended without a value for `loss`; it reported `reward`" in record.message


def test_guards_see_the_curve_of_a_fold(tmp_path):
    def train(suggestion):
        yield Measurement(1, {"loss": 1.0})
        yield Measurement(2, {"loss": math.nan if suggestion.fold == 2 else 1.0})
        yield Measurement(3, {"loss": 1.0})

    guard = make_guard("divergence", {}, objective="loss")
    (record,) = run(make_tuner(tmp_path, n=1, folding=FIVE, guards=[guard]), train)
    assert record.cause is Cause.DIVERGED
    assert record.message.startswith("fold 2 of 5: ")


def test_early_stopping_is_each_folds_own(tmp_path):
    steps: list[int] = []

    def train(suggestion):
        for step, loss in enumerate([3.0, 1.0, 2.0, 2.0, 0.5], 1):
            steps.append(step)
            yield Measurement(step, {"loss": loss + suggestion.fold}, seconds=60.0 * step)

    tuner = make_tuner(tmp_path, n=1, folding=FIVE, patience=2, value="best")
    (record,) = run(tuner, train)
    assert record.state is TrialState.COMPLETE
    assert record.values == (3.0,)  # the mean of 1 + fold, each fold's best
    assert steps == [1, 2, 3, 4] * 5
    assert record.stopped_by is None


def test_a_hopeless_configuration_does_not_pay_for_all_folds(tmp_path):
    def score(suggestion):
        return suggestion.number * 10.0 + 0.1 * suggestion.fold

    records = run(make_tuner(tmp_path, n=3, folding=Folding(5)), fold_scores(score))
    assert records[0].state is TrialState.COMPLETE
    for record in records[1:]:
        assert record.state is TrialState.PRUNED
        assert record.stopped_by == "race"
        assert 2 <= len(fold_values(record.metrics, "loss", 5)) < 5


def test_only_trials_of_the_same_folds_are_raced_against(tmp_path):
    """Such as those of an earlier study: the differences on other folds say nothing."""
    tuner = make_tuner(tmp_path, n=4, folding=Folding(5, split="seed 0"))
    run(tuner, fold_scores(lambda s: s.number * 10.0))
    again = make_tuner(tmp_path, n=6, folding=Folding(5, split="seed 1"))
    records = run(again, fold_scores(lambda s: 50.0))
    assert [r.stopped_by for r in records[:4]] == [None, "race", "race", "race"]
    assert records[4].state is TrialState.COMPLETE


def test_a_raced_trials_time_is_that_of_all_its_folds(tmp_path):
    """The time of two folds would look good beside that of five."""

    def train(suggestion):
        yield Measurement(1, {"loss": 1.0}, seconds=60.0 * (1 + suggestion.number))

    tuner = make_tuner(tmp_path, n=2, folding=Folding(5), objectives=[Objective("training_time")])
    first, second = run(tuner, train)
    assert first.value == 300.0
    assert second.stopped_by == "race"
    assert second.value == pytest.approx(600.0)
    assert second.metrics["training_time"] == 240.0  # what it has cost


def test_with_a_pruner_all_trials_have_one_order(tmp_path):
    orders: dict[int, list[int]] = {}

    def train(suggestion):
        orders.setdefault(suggestion.number, []).append(suggestion.fold)
        yield Measurement(1, {"loss": 1.0})

    run(make_tuner(tmp_path, n=4, folding=replace(FIVE, one_order=3)), train)
    assert len(set(map(tuple, orders.values()))) == 1


def test_a_guard_that_ends_a_fold_ends_the_others_at_once(tmp_path):
    guard = make_guard("divergence", {}, objective="loss")
    tuner = make_tuner(tmp_path, n=1, folding=Folding(4, at_once=2), guards=[guard])
    first, second = tuner.suggest(), tuner.suggest()
    assert tuner.observe(first.job, Measurement(1, {"loss": math.nan})) is Decision.STOP
    assert tuner.suggest() is Idle.WAIT  # no further fold of it begins
    assert tuner.observe(second.job, Measurement(1, {"loss": 1.0})) is Decision.STOP


def test_unless_the_study_says_so(tmp_path):
    records = run(make_tuner(tmp_path, n=3, folding=FIVE), fold_scores(lambda s: s.number * 10.0))
    assert [r.state for r in records] == [TrialState.COMPLETE] * 3


def test_pruners_see_the_means_by_the_number_of_folds(tmp_path):
    pruner = MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    records = run(make_tuner(tmp_path, n=4, folding=FIVE, pruner=pruner), fold_scores(lambda s: float(s.number)))
    assert [r.state.name for r in records] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    assert records[2].curve == {1: 2.0}


def test_constraints_hold_for_the_means(tmp_path):
    def train(suggestion):
        yield Measurement(1, {"loss": 1.0, "kl": float(suggestion.fold)})

    tuner = make_tuner(tmp_path, n=1, folding=FIVE, constraints=[Constraint("kl", max=1.5)])
    (record,) = run(tuner, train)
    assert record.violations == {"kl": 0.5}


def test_several_objectives_are_means_each(tmp_path):
    objectives = [Objective("loss"), Objective("training_time")]
    tuner = make_tuner(tmp_path, n=1, folding=FIVE, objectives=objectives)
    (record,) = run(tuner, fold_scores(lambda s: float(s.fold)))
    assert record.values == (2.0, 300.0)


def test_each_fold_is_told_while_the_trial_runs(tmp_path):
    told = []
    tuner = make_tuner(tmp_path, n=1, folding=Folding(3))
    tuner.on_fold = lambda record, end: told.append((record.number, end.fold, end.metrics["loss"], end.n))
    run(tuner, fold_scores(lambda s: 1.0))
    assert {row[:3] for row in told} == {(0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0)}
    assert [n for *_, n in told] == [1, 2, 3]
    assert [m.step for m in tuner.folder.trial(0).read_metrics()] == [1, 2, 3]


class TestRecovery:
    def two_folds_in(self, path):
        """A tuner whose process is gone: of its trial two folds have ended, and the third runs."""
        tuner = make_tuner(path, n=1, folding=FIVE)
        for _ in range(2):
            suggestion = tuner.suggest()
            tuner.observe(suggestion.job, Measurement(1, {"loss": float(suggestion.fold)}))
            tuner.finish(suggestion.job, Outcome(usage=Usage(10.0, 1000)))
        assert isinstance(tuner.suggest(), Suggestion)
        return tuner

    def test_folds_that_had_ended_are_not_run_again(self, tmp_path):
        self.two_folds_in(tmp_path)
        ran = []

        def train(suggestion):
            ran.append(suggestion.fold)
            yield Measurement(1, {"loss": float(suggestion.fold)}, seconds=60.0)

        records = run(make_tuner(tmp_path, n=1, folding=FIVE), train)
        assert [r.cause for r in records] == [Cause.LOST, None]
        assert len(ran) == 3
        assert records[1].values == (2.0,)
        assert records[1].metrics["training_time"] == 2 * 10.0 + 3 * 60.0
        assert fold_values(records[1].metrics, "loss", 5) == {i: float(i) for i in range(5)}

    def test_nor_after_a_second_death(self, tmp_path):
        self.two_folds_in(tmp_path)
        tuner = make_tuner(tmp_path, n=1, folding=FIVE)
        assert isinstance(tuner.suggest(), Suggestion)
        ran = []

        def train(suggestion):
            ran.append(suggestion.fold)
            yield Measurement(1, {"loss": 1.0})

        run(make_tuner(tmp_path, n=1, folding=FIVE), train)
        assert len(ran) == 3

    def test_a_trial_whose_folds_had_all_ended_is_closed_without_a_run(self, tmp_path):
        tuner = self.two_folds_in(tmp_path)
        for fold in range(5):
            directory = tuner.folder.trial(0).fold(fold)
            directory.path.mkdir(exist_ok=True)
            keep(directory, {"loss": float(fold), "training_time": 1.0}, FIVE.split)
        again = make_tuner(tmp_path, n=1, folding=FIVE)
        assert again.suggest() is Idle.DONE
        assert [r.values for r in rec.load(again.study)] == [None, (2.0,)]

    def test_a_stop_between_two_folds_asks_again_for_the_rest(self, tmp_path):
        tuner = make_tuner(tmp_path, n=1, folding=FIVE)
        suggestion = tuner.suggest()
        tuner.observe(suggestion.job, Measurement(1, {"loss": 1.0}))
        tuner.finish(suggestion.job, Outcome())
        tuner.close()
        (record,) = [r for r in rec.load(tuner.study) if r.state is not TrialState.WAITING]
        assert record.cause is Cause.INTERRUPTED
        records = run(make_tuner(tmp_path, n=1, folding=FIVE), fold_scores(lambda s: 1.0))
        assert records[1].values == (1.0,)

    def test_folds_of_another_split_are_run_again(self, tmp_path):
        self.two_folds_in(tmp_path)
        ran = []

        def train(suggestion):
            ran.append(suggestion.fold)
            yield Measurement(1, {"loss": 1.0})

        run(make_tuner(tmp_path, n=1, folding=replace(FIVE, split="another seed")), train)
        assert len(ran) == 5

    def test_a_fold_that_ended_while_no_tuner_lived_is_taken(self, tmp_path):
        """Its worker has left what it returned, and the tuner had written down what it reported."""
        tuner = make_tuner(tmp_path, n=1, folding=FIVE)
        suggestion = tuner.suggest()
        tuner.observe(suggestion.job, Measurement(1, {"loss": 7.0}, seconds=60.0))
        TrialDir(suggestion.directory).write_outcome(Outcome())
        ran = []

        def train(suggestion):
            ran.append(suggestion.fold)
            yield Measurement(1, {"loss": 7.0}, seconds=60.0)

        records = run(make_tuner(tmp_path, n=1, folding=FIVE), train)
        assert len(ran) == 4
        assert suggestion.fold not in ran
        assert records[1].values == (7.0,)
        assert records[1].metrics["training_time"] == 300.0

    def test_progress_before_each_loss_is_never_given_up(self, tmp_path):
        for _ in range(5):  # a machine that is taken away after every fold
            tuner = make_tuner(tmp_path, n=1, folding=FIVE)
            suggestion = tuner.suggest()
            tuner.observe(suggestion.job, Measurement(1, {"loss": 1.0}))
            tuner.finish(suggestion.job, Outcome())
            if tuner._running:
                tuner.suggest()
        records = rec.load(tuner.study)
        assert [r.cause for r in records] == [Cause.LOST] * 4 + [None]
        assert records[-1].values == (1.0,)

    def test_a_trial_that_failed_by_itself_starts_anew(self, tmp_path):
        tuner = make_tuner(tmp_path, n=1, folding=FIVE)
        for outcome in (Outcome(), Outcome(Cause.ERROR, "boom")):
            suggestion = tuner.suggest()
            tuner.observe(suggestion.job, Measurement(1, {"loss": 1.0}))
            tuner.finish(suggestion.job, outcome)
        tuner._ask_again(0)
        ran = []

        def train(suggestion):
            ran.append(suggestion.fold)
            yield Measurement(1, {"loss": 1.0})

        run(make_tuner(tmp_path, n=1, folding=FIVE), train)
        assert len(ran) == 5


def test_side_by_side_folds_of_a_lost_trial_are_told_to_stop(tmp_path):
    tuner = make_tuner(tmp_path, n=1, folding=Folding(3, at_once=3))
    first, second, third = (tuner.suggest() for _ in range(3))
    tuner.finish(first.job, Outcome(Cause.ERROR, "boom"))
    assert tuner.observe(second.job, Measurement(1, {"loss": 1.0})) is Decision.STOP
    tuner.finish(second.job, Outcome(stopped=True))
    assert rec.load(tuner.study)[0].state is TrialState.RUNNING
    tuner.finish(third.job, Outcome(stopped=True))
    (record,) = rec.load(tuner.study)
    assert record.cause is Cause.ERROR
    assert "boom" in record.message
