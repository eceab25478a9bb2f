"""The tuner's three answers, over a real journal and simulated trainings."""

import json
import math
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from rltune import records as rec
from rltune.folder import StudyDir
from rltune.guards import make_guard
from rltune.objective import Constraint, Objective
from rltune.protocol.decision import Finals
from rltune.testing.simulator import SimulatedExecutor
from rltune.types import Cause, Decision, Idle, Measurement, Outcome, Purpose, Usage
from tuner_harness import curve, make_tuner, run


def test_a_trial_is_worth_its_last_value(tmp_path):
    records = run(make_tuner(tmp_path, n=1), curve(3.0, 1.0, 2.0))
    assert records[0].values == (2.0,)
    assert records[0].curve == {1: 3.0, 2: 1.0, 3: 2.0}
    assert records[0].metrics["training_time"] == 180.0


def test_or_its_best_where_the_study_says_so(tmp_path):
    assert run(make_tuner(tmp_path, n=1, value="best"), curve(3.0, 1.0, 2.0))[0].values == (1.0,)


def test_every_measurement_is_in_the_trials_folder(tmp_path):
    tuner = make_tuner(tmp_path, n=1)
    run(tuner, curve(3.0, math.nan, 2.0))
    rows = tuner.folder.trial(0).read_metrics()
    assert [m.step for m in rows] == [1, 2, 3]
    assert math.isnan(rows[1].metrics["loss"])
    result = json.loads(tuner.folder.trial(0).result.read_text())
    assert result["state"] == "complete"
    assert result["values"] == [2.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_diverged_and_the_sampler_never_sees_it(tmp_path, value):
    records = run(make_tuner(tmp_path, n=2), curve(1.0, value))
    assert [r.cause for r in records] == [Cause.DIVERGED] * 2
    assert [r.state for r in records] == [TrialState.FAIL] * 2
    assert "`loss` is" in records[0].message


def test_a_metric_that_never_came_names_those_that_did(tmp_path):
    records = run(make_tuner(tmp_path, n=1), curve(1.0, metric="reward"))
    assert records[0].cause is Cause.NO_VALUE
    assert records[0].message == "the trial ended without a value for `loss`; it reported `reward`"


def test_a_trainer_that_raises_ends_only_its_trial(tmp_path):
    def train(suggestion):
        yield Measurement(1, {"loss": 1.0}, 60.0)
        if suggestion.number % 2:
            raise ValueError("bad luck")

    records = run(make_tuner(tmp_path, n=4), train)
    assert [r.cause for r in records] == [None, Cause.ERROR, None, Cause.ERROR]
    assert "bad luck" in records[1].message


def test_a_guard_ends_a_trial_and_leaves_its_evidence(tmp_path):
    guard = make_guard("divergence", {}, objective="loss")
    records = run(make_tuner(tmp_path, n=1, guards=[guard]), curve(1.0, math.nan, 2.0, 3.0))
    assert records[0].cause is Cause.DIVERGED
    assert records[0].metrics["training_time"] == 120.0
    assert "loss" in records[0].message


def test_a_pruned_trial_is_pruned_in_optuna_too(tmp_path):
    def train(suggestion):
        yield from curve(*([float(suggestion.number)] * 4))(suggestion)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    records = run(make_tuner(tmp_path, n=6, pruner=pruner), train)
    assert [r.state for r in records[:2]] == [TrialState.COMPLETE] * 2
    assert {r.state for r in records[2:]} == {TrialState.PRUNED}
    assert records[3].stopped_by == "pruner"
    assert records[3].cause is None


def test_the_baseline_and_the_finals_are_never_pruned(tmp_path):
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 2 and len(study.trials) % 2 == 0

    tuner = make_tuner(tmp_path, n=5, pruner=Always())
    tuner.plan = replace(tuner.plan, default={"x": 0.5}, baseline_seeds=3, finals=Finals(6))
    records = run(tuner, curve(3.0, 2.0, 1.0))
    pruned = [r.state is TrialState.PRUNED for r in records if r.purpose is Purpose.SEARCH]
    assert True in pruned
    assert False in pruned
    assert {r.state for r in records if r.purpose is not Purpose.SEARCH} == {TrialState.COMPLETE}
    assert sum(r.purpose is Purpose.FINAL for r in records) >= 1


def test_nothing_is_pruned_unless_asked_for(tmp_path):
    def train(suggestion):
        yield from curve(*([float(suggestion.number)] * 4))(suggestion)

    assert {r.state for r in run(make_tuner(tmp_path, n=9), train)} == {TrialState.COMPLETE}


def test_the_pruner_does_not_cut_the_last_step(tmp_path):
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 3

    records = run(make_tuner(tmp_path, n=1, pruner=Always(), horizon=3), curve(1.0, 2.0, 3.0))
    assert records[0].state is TrialState.COMPLETE


def test_early_stopping_keeps_the_trials_value(tmp_path):
    tuner = make_tuner(tmp_path, n=1, patience=2, value="best")
    records = run(tuner, curve(3.0, 1.0, 2.0, 2.0, 0.5))
    assert records[0].state is TrialState.COMPLETE
    assert records[0].values == (1.0,)
    assert records[0].stopped_by == "early_stopping"


def test_early_stopping_works_with_several_objectives(tmp_path):
    objectives = [Objective("loss", "minimize"), Objective("training_time", "minimize")]
    records = run(make_tuner(tmp_path, n=1, objectives=objectives, patience=1), curve(2.0, 1.0, 1.5, 0.1))
    assert records[0].values == (1.5, 180.0)


def test_several_objectives_are_told_together(tmp_path):
    objectives = [Objective("loss", "minimize"), Objective("training_time", "minimize")]
    records = run(make_tuner(tmp_path, n=2, objectives=objectives), curve(2.0, 1.0))
    assert records[0].values == (1.0, 120.0)


def test_an_infeasible_trial_is_complete_and_says_by_how_much(tmp_path):
    constraints = [Constraint("training_time", max=100.0), Constraint("kl", max=1.0)]
    records = run(make_tuner(tmp_path, n=1, constraints=constraints), curve(2.0, 1.0))
    assert records[0].state is TrialState.COMPLETE
    assert not records[0].feasible
    assert records[0].violations["training_time"] == 20.0
    assert records[0].violations["kl"] > 0


def test_failures_in_a_row_end_the_study(tmp_path):
    def train(suggestion):
        if suggestion.number > 3:
            raise ValueError
        yield Measurement(1, {"loss": 1.0}, 60.0)

    tuner = make_tuner(tmp_path, n=50, max_failures=4)
    assert len(run(tuner, train)) == 8
    assert tuner.halted == "4 trials in a row failed"


def test_trainings_that_diverge_do_not_end_a_study_that_works(tmp_path):
    def train(suggestion):
        yield Measurement(1, {"loss": 1.0 if suggestion.number == 0 else math.nan}, 60.0)

    tuner = make_tuner(tmp_path, n=20, max_failures=4)
    assert len(run(tuner, train)) == 20
    assert tuner.halted is None


def test_a_study_that_never_worked_ends_after_five(tmp_path):
    def train(suggestion):
        raise ValueError
        yield

    tuner = make_tuner(tmp_path, n=50)
    assert len(run(tuner, train)) == 5
    assert tuner.halted == "all of the first 5 trials failed"


def test_after_the_cause_is_mended_the_study_goes_on(tmp_path):
    def broken(suggestion):
        raise ValueError
        yield

    run(make_tuner(tmp_path, n=8), broken)
    records = run(make_tuner(tmp_path, n=8), curve(1.0))
    assert len(records) == 8
    assert records[-1].values == (1.0,)


def test_time_that_is_up_starts_nothing_new(tmp_path):
    executor = SimulatedExecutor(1)
    tuner = make_tuner(tmp_path, n=50, timeout_seconds=300.0, clock=executor.clock)
    executor.run(tuner, curve(1.0, 1.0))
    assert len(tuner.records) == 3
    assert executor.now == 360.0


def test_workers_run_side_by_side_in_virtual_time(tmp_path):
    executor = SimulatedExecutor(4)
    tuner = make_tuner(tmp_path, n=8)
    executor.run(tuner, curve(1.0))
    assert executor.now == 120.0


class TestRecovery:
    def die_while_running(self, path, n_finished=2):
        """A tuner whose process is gone: its last trial is still marked as running."""
        tuner = make_tuner(path)
        for _ in range(n_finished):
            number = tuner.suggest().number
            tuner.observe(number, Measurement(1, {"loss": 1.0}))
            tuner.finish(number, Outcome())
        return tuner.suggest()

    def test_what_ran_is_lost_and_asked_again_with_its_seed(self, tmp_path):
        lost = self.die_while_running(tmp_path)
        records = run(make_tuner(tmp_path), curve(1.0))
        assert records[2].cause is Cause.LOST
        assert records[3].retry_of == 2
        assert records[3].params == dict(lost.params)
        assert records[3].seed == lost.seed
        assert sum(r.state is TrialState.COMPLETE for r in records) == 6

    def test_a_result_that_the_worker_left_is_taken(self, tmp_path):
        lost = self.die_while_running(tmp_path)
        directory = StudyDir(tmp_path).trial(lost.number)
        directory.append_measurement(Measurement(1, {"loss": 0.5}))
        directory.write_outcome(Outcome(metrics={"extra": 7.0}, usage=Usage(3.0, 5)))
        records = rec.load(make_tuner(tmp_path).study)
        assert records[2].values == (0.5,)
        assert records[2].metrics["extra"] == 7.0
        assert records[2].metrics["memory_usage"] == 5.0

    def test_a_stop_that_the_worker_had_heard_of_is_no_result(self, tmp_path):
        lost = self.die_while_running(tmp_path)
        directory = StudyDir(tmp_path).trial(lost.number)
        directory.append_measurement(Measurement(1, {"loss": 0.5}))
        directory.write_outcome(Outcome(stopped=True))
        records = run(make_tuner(tmp_path), curve(1.0))
        assert records[2].cause is Cause.LOST
        assert records[3].retry_of == 2

    def test_an_interrupted_trial_is_asked_again(self, tmp_path):
        tuner = make_tuner(tmp_path)
        number = tuner.suggest().number
        tuner.finish(number, Outcome(Cause.INTERRUPTED, "stopped"))
        records = run(make_tuner(tmp_path), curve(1.0))
        assert records[1].retry_of == 0
        assert records[1].params == records[0].params
        assert sum(r.state is TrialState.COMPLETE for r in records) == 6

    def test_dying_between_the_two_writes_of_a_recovery_doubles_nothing(self, tmp_path):
        self.die_while_running(tmp_path)
        tuner = make_tuner(tmp_path)  # recovers: asks again, then closes
        tuner._ask_again(2)
        assert sum(r.retry_of == 2 for r in rec.load(tuner.study)) == 1

    def test_a_trial_that_kills_the_tuner_each_time_is_given_up(self, tmp_path):
        make_tuner(tmp_path).suggest()
        for _ in range(4):
            make_tuner(tmp_path).suggest()
        records = rec.load(make_tuner(tmp_path).study)
        assert [r.retry_of for r in records[:3]] == [None, 0, 1]
        assert records[3].retry_of is None


class TestCheckpoints:
    """A trial that told of its checkpoints goes on from the last of them, where it was cut short."""

    def cut_short(self, path, checkpoint="step_2"):
        tuner = make_tuner(path, n=1)
        suggestion = tuner.suggest()
        (suggestion.directory / "step_2").mkdir()
        for step in (1, 2, 3):
            saved = checkpoint if step == 2 else None
            tuner.observe(suggestion.job, Measurement(step, {"loss": 10.0 - step}, 60.0 * step, saved))
        return suggestion

    def test_it_goes_on_with_what_it_had_measured_before(self, tmp_path):
        first = self.cut_short(tmp_path)
        seen = []

        def train(suggestion):
            seen.append(suggestion.resume_from)
            yield Measurement(3, {"loss": 5.0}, seconds=60.0)

        records = run(make_tuner(tmp_path, n=1), train)
        assert seen == [first.directory.absolute() / "step_2"]
        assert records[1].retry_of == 0
        assert records[1].curve == {1: 9.0, 2: 8.0, 3: 5.0}
        assert records[1].metrics["training_time"] == 120.0 + 60.0

    def test_a_trainer_that_begins_anew_keeps_nothing_of_it(self, tmp_path):
        self.cut_short(tmp_path)
        tuner = make_tuner(tmp_path, n=1, value="best")
        records = run(tuner, curve(20.0, 21.0, 22.0))
        assert records[1].values == (20.0,)
        assert records[1].metrics["training_time"] == 180.0

    def test_without_a_checkpoint_that_is_still_there_it_begins_anew(self, tmp_path):
        self.cut_short(tmp_path, checkpoint="step_9")
        seen = []

        def train(suggestion):
            seen.append(suggestion.resume_from)
            yield Measurement(1, {"loss": 1.0})

        run(make_tuner(tmp_path, n=1), train)
        assert seen == [None]

    def test_as_long_as_it_gets_further_it_is_never_given_up(self, tmp_path):
        for step in range(1, 8):
            tuner = make_tuner(tmp_path, n=1)
            suggestion = tuner.suggest()
            (suggestion.directory / f"step_{step}").mkdir()
            tuner.observe(suggestion.job, Measurement(step, {"loss": 1.0}, checkpoint=f"step_{step}"))
        records = rec.load(make_tuner(tmp_path, n=1).study)
        assert [r.cause for r in records[:7]] == [Cause.LOST] * 7
        assert records[7].retry_of == 6

    def test_what_was_kept_for_another_trial_is_tidied_once_that_has_ended(self, tmp_path):
        told = []

        def tidy(folder, *, superseded):
            told.append((folder.name, superseded))

        self.cut_short(tmp_path)
        tuner = make_tuner(tmp_path, n=1, tidy=tidy)
        again = tuner.suggest()
        tuner.observe(again.job, Measurement(3, {"loss": 5.0}))
        tuner.finish(again.job, Outcome(Cause.LOST, "its machine died", again=True))
        assert told == []  # a third one may go on from either
        third = tuner.suggest()
        tuner.observe(third.job, Measurement(4, {"loss": 5.0}))
        assert told == []
        tuner.finish(third.job, Outcome())
        assert told == [("0001", True), ("0000", True), ("0002", False)]
        told.clear()
        make_tuner(tmp_path, n=1, tidy=tidy)  # the one before may have died before it got there
        assert told == [("0001", True), ("0000", True)]

    def test_the_folder_of_a_trial_that_measured_nothing_is_left_alone(self, tmp_path):
        told = []

        def tidy(folder, *, superseded):
            told.append((folder.name, superseded))

        tuner = make_tuner(tmp_path, n=1, tidy=tidy)
        tuner.finish(tuner.suggest().job, Outcome(Cause.ERROR, "what lies there is not its own"))
        assert told == []


def test_a_trial_that_somebody_else_enqueued_runs_and_gets_a_seed(tmp_path):
    tuner = make_tuner(tmp_path, n=2)
    tuner.study.enqueue_trial({"x": 0.25})
    records = run(tuner, curve(1.0))
    assert records[0].params == {"x": 0.25}
    assert records[0].seed is not None
    assert len({r.seed for r in records}) == 2
    assert len(records) == 2


def test_what_is_going_to_happen_is_in_the_journal_before_the_first_trial(tmp_path):
    plan = rec.read_plan(make_tuner(tmp_path).study)
    assert plan["phases"] == {"baseline": 0, "search": 6, "final": 0, "claim": 0}
    assert set(plan["seeds"]) == {"search", "select", "claim"}


def test_purposes_reach_optuna(tmp_path):
    tuner = make_tuner(tmp_path, n=1)
    run(tuner, curve(1.0))
    assert tuner.study.trials[0].user_attrs["purpose"] == Purpose.SEARCH.value
    assert isinstance(tuner.suggest(), Idle)


def test_decisions_stay_stop(tmp_path):
    tuner = make_tuner(tmp_path, guards=[make_guard("divergence", {}, objective="loss")])
    number = tuner.suggest().number
    assert tuner.observe(number, Measurement(1, {"loss": math.nan})) is Decision.STOP
    assert tuner.observe(number, Measurement(2, {"loss": 1.0})) is Decision.STOP
