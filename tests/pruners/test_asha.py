"""`asha` takes the settings of Ray Tune's scheduler by their names, and ends trials where that would."""

import sys

import pytest
from optuna.trial import TrialState

import rltune
from rltune import session
from rltune.config import from_mapping
from rltune.errors import StudyFileError
from rltune.types import Cause

GUIDE = {
    "name": "asha",
    "time_attr": "epoch",
    "max_t": 8,
    "grace_period": 1,
    "reduction_factor": 2,
    "metric": "loss",
    "mode": "min",
}


def epochs(config):
    """As in the guide: epochs from 0 on, and the loss beside them."""
    for epoch in range(20):
        rltune.report(loss=config["x"] + 1 / (epoch + 1), epoch=epoch)


def search(train, out, pruner, **study):
    given = {"metric": "loss", "n_trials": 12, "executor": "inline", "algorithm": "random", "protocol": "simple"}
    return rltune.tune(train, {"x": ("float", 0.0, 1.0)}, out=out, pruner=pruner, **{**given, **study})


def refused(pruner, **study):
    mapping = {
        "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "evaluation": {"metric": "loss", "direction": "minimize"},
        "trainer": {"function": "job:train"},
        "pruner": pruner,
        **study,
    }
    with pytest.raises(StudyFileError) as caught:
        from_mapping(mapping)
    return str(caught.value)


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_the_guides_settings(tmp_path, executor):
    result = search(epochs, tmp_path / "s", GUIDE, executor=executor)
    states = {r.state for r in result.records}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for record in result.records:
        assert min(record.curve) == 0  # the epoch is the step
        if record.state is TrialState.PRUNED:
            assert max(record.curve) in (1, 2, 4)  # the rungs
        else:
            assert max(record.curve) == 8  # max_t, with the value that it had there
            assert record.value == pytest.approx(record.params["x"] + 1 / 9)
            assert record.cause is record.stopped_by is None


def test_of_the_trials_that_came_to_a_rung_before_it_a_trial_goes_on_with_the_better_half(tmp_path):
    result = search(epochs, tmp_path / "s", GUIDE, n_trials=30)
    at_first_rung = []
    for record in result.records:
        at_first_rung = sorted([*at_first_rung, record.params["x"]])
        better = at_first_rung[: max(1, len(at_first_rung) // 2)]
        assert (max(record.curve) > 1) == (record.params["x"] in better)


def test_max_t_is_what_the_trial_is_told_as_its_horizon(tmp_path):
    seen = []
    search(lambda config, trial: seen.append(trial.horizon) or 1.0, tmp_path / "s", GUIDE, n_trials=1)
    assert seen == [8]


def test_the_default_and_the_finals_end_there_as_well(tmp_path):
    space = {"x": {"type": "float", "min": 0.0, "max": 1.0, "default": 0.9}}
    result = rltune.tune(
        epochs, space, metric="loss", out=tmp_path / "s", pruner=GUIDE, n_trials=12, executor="inline", protocol="full"
    )
    compared = [r for r in result.records if r.purpose != "search"]
    assert compared
    assert all(r.state is TrialState.COMPLETE and max(r.curve) == 8 for r in compared)


def test_without_max_t_trials_end_by_themselves(tmp_path):
    result = search(epochs, tmp_path / "s", "asha")
    assert {max(r.curve) for r in result.records if r.state is TrialState.COMPLETE} == {20}


def test_the_step_of_the_reports_is_training_iteration(tmp_path):
    def train(config):
        for _ in range(9):
            rltune.report(loss=config["x"])

    result = search(train, tmp_path / "s", {"name": "asha", "time_attr": "training_iteration", "max_t": 4})
    assert {max(r.curve) for r in result.records if r.state is TrialState.COMPLETE} == {4}


def test_a_fraction_of_an_epoch_has_not_reached_the_next(tmp_path):
    def train(config):
        for quarter in range(1, 40):
            rltune.report(loss=config["x"], epoch=quarter / 4)

    result = search(train, tmp_path / "s", {**GUIDE, "max_t": 3}, n_trials=6)
    complete = [r for r in result.records if r.state is TrialState.COMPLETE]
    assert complete
    assert all(r.metrics["epoch"] == 3.0 for r in complete)


def test_reports_of_other_things_are_of_the_epoch_before(tmp_path):
    def train(config):
        for epoch in range(3):
            rltune.report(loss=1.0, epoch=epoch)
            rltune.report(gradient=2.0)

    record = search(train, tmp_path / "s", {**GUIDE, "grace_period": 4}, n_trials=1).records[0]
    assert list(record.curve) == [0, 1, 2]


def test_a_time_attr_that_nothing_reports_fails_at_the_first_report(tmp_path):
    """Ray would never stop anything then."""
    record = search(epochs, tmp_path / "s", {**GUIDE, "time_attr": "epochs"}, n_trials=1).records[0]
    assert record.cause is Cause.ERROR
    assert "`loss` was reported without `epochs`" in record.message
    assert "reported were `loss`, `epoch`" in record.message


def test_an_interrupted_trial_goes_on_in_epochs(tmp_path):
    """Its checkpoints are known by the epoch too; a report of something else is no sign of a new beginning."""
    trained = []

    def train(config, trial):
        begin = int(trial.resume_from.read_text()) if trial.resume_from else -1
        rltune.report(gradient=1.0)
        for epoch in range(begin + 1, 6):
            if epoch == 3 and begin < 0:
                raise KeyboardInterrupt
            trained.append(epoch)
            saved = trial.directory / "checkpoint"
            saved.write_text(str(epoch))
            rltune.report({"loss": 1.0, "epoch": epoch}, checkpoint=saved)

    with pytest.raises(KeyboardInterrupt):
        search(train, tmp_path / "s", GUIDE, n_trials=1)
    record = search(train, tmp_path / "s", GUIDE, n_trials=1).records[-1]
    assert trained == [0, 1, 2, 3, 4, 5]
    assert list(record.curve) == [0, 1, 2, 3, 4, 5]


def test_a_command_whose_lines_name_their_step(tmp_path):
    """The reader takes `epoch` for the step already, so it is among the metrics no more."""
    script = 'import json\nfor e in range(9): print(json.dumps({"epoch": e, "loss": 1.0}), flush=True)'
    (tmp_path / "train.py").write_text(script)
    config = from_mapping(
        {
            "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
            "evaluation": {"metric": "loss", "direction": "minimize"},
            "trainer": {
                "command": [sys.executable, str(tmp_path / "train.py"), "{x}"],
                "metrics": {"stdout": "json", "step": "epoch"},
            },
            "pruner": GUIDE,
            "n_trials": 1,
        }
    )
    (record,) = session.run(config, out=tmp_path / "s").records
    assert record.cause is None, record.message
    assert max(record.curve) == 8


@pytest.mark.parametrize(
    ("changes", "study", "message"),
    [
        (
            {"metric": "accuracy"},
            {},
            "pruner.metric: is the text 'accuracy', and the study's metric is the text 'loss'",
        ),
        ({"mode": "max"}, {}, "pruner.mode: is max, and evaluation.direction is the text 'minimize'"),
        ({"mode": "best"}, {}, "pruner.mode: must be min or max"),
        ({"grace_period": 0}, {}, "pruner.grace_period: must be at least 1, got 0"),
        ({"grace_period": 9}, {}, "pruner.max_t: must be at least 1 and the grace_period, got 8"),
        ({"reduction_factor": 1}, {}, "pruner.reduction_factor: must be at least 2, got 1"),
        ({"reduction_factor": 2.5}, {}, "pruner.reduction_factor: must be a whole number"),
        ({"max_t": 8.5}, {}, "pruner.max_t: must be a whole number or null"),
        ({"brackets": 3}, {}, "pruner.brackets: unknown option"),
        ({}, {"trainer": {"function": "job:train", "horizon": 9}}, "pruner.max_t: is 8, and trainer.horizon is 9"),
        (
            {},
            {"evaluation": {"metric": "loss", "direction": "minimize", "cross_validation": True}},
            "pruner: `asha` watches one curve, and over folds there is none",
        ),
    ],
)
def test_what_contradicts_the_study_is_refused(changes, study, message):
    assert message in refused({**GUIDE, **changes}, **study)


def test_it_cannot_be_wrapped():
    wrapping = {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "asha", "max_t": 3}}
    assert "pruner.wrapped_pruner: `asha` cannot be wrapped" in refused(wrapping)


def test_the_file_that_is_written_back_is_read_again():
    mapping = {
        "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "evaluation": {"metric": "loss", "direction": "minimize"},
        "trainer": {"function": "job:train"},
        "pruner": GUIDE,
    }
    config = from_mapping(mapping)
    assert config.trainer.horizon == 8
    assert from_mapping(config.to_mapping()) == config
