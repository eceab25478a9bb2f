"""Functions written for Ray Tune, unchanged: what they report, save and ask for is the running trial's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from optuna.trial import TrialState

import rltune
from rltune.errors import TrainerError
from rltune.trainers.function import FunctionTrainer
from rltune.types import Suggestion

tune = pytest.importorskip("ray.tune")
session = pytest.importorskip("ray.train._internal.session")

SPACE = {"x": ("float", 0.0, 1.0)}
EXECUTORS = ["inline", "local", {"name": "local", "warm": False}]


def search(train, out, **study):
    given = {"metric": "loss", "n_trials": 2, "executor": "inline", "protocol": "simple"}
    return rltune.tune(train, SPACE, out=out, **{**given, **study})


def run(train, directory, **suggestion):
    """One trial of a function here; what it reported."""
    reported = []
    FunctionTrainer(train)(Suggestion(3, {"x": 0.5}, 0, directory, **suggestion), reported.append)
    return reported


def saved(text):
    """A checkpoint in a folder that vanishes with the object."""
    folder = tempfile.TemporaryDirectory()
    Path(folder.name, "weights").write_text(text)
    return folder, tune.Checkpoint.from_directory(folder.name)


MODULE = """
from ray import tune
from ray.tune import report

def train(config):
    for epoch in range(3):
        (report if epoch == 1 else tune.report)({"loss": config["x"] + epoch, "epoch": epoch})
"""

LAZY = """
def train(config):
    from ray import tune

    for epoch in range(3):
        tune.report({"loss": config["x"] + epoch, "epoch": epoch})
"""

OLDER = """
def train(config):
    from ray import train

    for epoch in range(3):
        train.report({"loss": config["x"] + epoch, "epoch": epoch})
"""

DRIVER = """
import rltune, sys

result = rltune.tune("job:train", {"x": ("float", 0.0, 1.0)}, metric="loss", n_trials=2, executor="EXECUTOR",
                     protocol="simple", out="out")
assert "ray" not in sys.modules or not SPARED, "rltune has imported Ray where nobody needs it"
for record in result.records:
    x = record.params["x"]
    assert record.curve == {1: x, 2: x + 1, 3: x + 2}, record
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", [MODULE, LAZY, OLDER], ids=["at the top", "in the function", "ray.train"])
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_report_in_a_process_that_has_not_imported_ray(tmp_path, monkeypatch, module, executor):
    monkeypatch.setenv("RAY_TRAIN_V2_ENABLED", "0")  # for ray.train.report, which Ray refuses in a trial else
    (tmp_path / "job.py").write_text(module)
    spared = module is not MODULE and executor == "local"
    driver = DRIVER.replace("EXECUTOR", executor).replace("SPARED", str(spared))
    ended = subprocess.run([sys.executable, "-c", driver], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_what_a_trial_can_ask_for(tmp_path, executor):
    def train(config):
        context = tune.get_context()
        Path(context.get_trial_dir(), "asked").write_text(f"{context.get_trial_id()} {context.get_trial_name()}")
        tune.report({"loss": config["x"]})

    result = search(train, tmp_path / "s", executor=executor)
    assert [r.value for r in result.records] == [r.params["x"] for r in result.records]
    asked = [(result.folder.trial(n).path / "asked").read_text() for n in (0, 1)]
    assert asked == ["0 trial-0", "1 trial-1"]


def test_each_fold_has_a_name_and_a_folder_of_its_own(tmp_path):
    seen = []

    def train(config, fold):
        seen.append((tune.get_context().get_trial_id(), tune.get_context().get_trial_dir()))
        tune.report({"loss": config["x"] + fold})

    search(train, tmp_path / "s", n_trials=1, evaluation={"cross_validation": True, "n_folds": 3})
    assert len({name for name, _ in seen}) == len({folder for _, folder in seen}) == 3


def test_a_trial_that_is_pruned_ends_inside_report(tmp_path):
    def train(config):
        for _ in range(9):
            tune.report({"loss": config["x"]})

    result = search(train, tmp_path / "s", n_trials=8, algorithm="random", pruner="halving")
    assert {r.state for r in result.records} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(max(r.curve) < 9 for r in result.records if r.state is TrialState.PRUNED)


class TestSteps:
    def test_without_one_reports_are_counted(self, tmp_path):
        def train(config):
            tune.report({"loss": 1.0, "epoch": 7})
            tune.report({"loss": 2.0, "epoch": 8})

        assert [(m.step, dict(m.metrics)) for m in run(train, tmp_path)] == [
            (1, {"loss": 1.0, "epoch": 7.0}),
            (2, {"loss": 2.0, "epoch": 8.0}),
        ]

    @pytest.mark.parametrize("name", ["training_iteration", "step"])
    def test_the_metric_that_is_the_step(self, tmp_path, name):
        def train(config):
            tune.report({"loss": 1.0, name: 100})
            tune.report({"loss": 2.0})

        assert [(m.step, dict(m.metrics)) for m in run(train, tmp_path)] == [(100, {"loss": 1.0}), (101, {"loss": 2.0})]


def test_nested_metrics_are_numbers_by_path_and_texts_are_mentioned(tmp_path, capsys):
    def train(config):
        for _ in range(2):
            tune.report({"eval": {"loss": 1.0, "ok": True}, "note": "good", "nothing": None})

    assert [dict(m.metrics) for m in run(train, tmp_path)] == [{"eval/loss": 1.0, "eval/ok": 1.0}] * 2
    assert capsys.readouterr().err.count("`note` is no number") == 1


class TestCheckpoints:
    def test_are_copied_before_report_returns(self, tmp_path):
        def train(config):
            for step in (1, 2_000_000):
                folder, checkpoint = saved(f"step {step}")
                with folder:
                    tune.report({"loss": 1.0, "step": step}, checkpoint=checkpoint)

        for measurement in run(train, tmp_path):
            kept = Path(measurement.checkpoint)
            assert kept == tmp_path / "checkpoints" / f"step-{measurement.step}"
            assert (kept / "weights").read_text() == f"step {measurement.step}"

    def test_the_trials_own_folder_as_checkpoint_does_not_grow_with_each(self, tmp_path):
        def train(config):
            folder = tune.get_context().get_trial_dir()
            for step in (1, 2, 3):
                Path(folder, "weights").write_text(str(step))
                tune.report({"loss": 1.0}, checkpoint=tune.Checkpoint.from_directory(folder))

        reported = run(train, tmp_path)
        assert [Path(m.checkpoint, "weights").read_text() for m in reported] == ["1", "2", "3"]
        assert len(list(tmp_path.rglob("weights"))) == 4

    def test_one_that_lies_where_it_is_to_be_stays(self, tmp_path):
        def train(config):
            folder = Path(tune.get_context().get_trial_dir(), "checkpoints", "step-1")
            folder.mkdir(parents=True)
            (folder / "weights").write_text("mine")
            tune.report({"loss": 1.0}, checkpoint=tune.Checkpoint.from_directory(str(folder)))

        assert (Path(run(train, tmp_path)[0].checkpoint) / "weights").read_text() == "mine"

    @pytest.mark.filterwarnings("ignore:The `Checkpoint` class should be imported")
    def test_something_else_is_refused(self, tmp_path):
        with pytest.raises(TrainerError, match=r"tune\.Checkpoint\.from_directory\(folder\); got 'model.pt'"):
            run(lambda config: tune.report({"loss": 1.0}, checkpoint="model.pt"), tmp_path)

    def test_there_is_none_at_first(self, tmp_path):
        assert not run(lambda config: tune.get_checkpoint() and tune.report({"loss": 1.0}), tmp_path)

    def test_an_interrupted_trial_goes_on_from_its_last(self, tmp_path):
        """Neither its epochs nor their numbers are repeated."""
        trained = []

        def train(config):
            begin = 0
            if checkpoint := tune.get_checkpoint():
                with checkpoint.as_directory() as folder:
                    begin = int(Path(folder, "weights").read_text())
            for epoch in range(begin + 1, 6):
                if epoch == 4 and not begin:
                    raise KeyboardInterrupt
                trained.append(epoch)
                folder, checkpoint = saved(str(epoch))
                with folder:
                    tune.report({"loss": 10.0 - epoch}, checkpoint=checkpoint)

        with pytest.raises(KeyboardInterrupt):
            search(train, tmp_path / "s", n_trials=1)
        result = search(train, tmp_path / "s", n_trials=1)
        assert trained == [1, 2, 3, 4, 5]
        assert result.records[-1].curve == {1: 9.0, 2: 8.0, 3: 7.0, 4: 6.0, 5: 5.0}

    def test_one_that_is_not_asked_for_does_not_count(self, tmp_path):
        """The function has begun anew, so its steps have as well."""
        (tmp_path / "step-7").mkdir()
        reported = run(lambda config: tune.report({"loss": 1.0}), tmp_path, resume_from=tmp_path / "step-7")
        assert [m.step for m in reported] == [1]


class TestOtherSessions:
    def test_one_of_rays_own_comes_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(session, "_session", theirs := object())
        assert len(run(lambda config: tune.report({"loss": 1.0}), tmp_path)) == 1
        assert session.get_session() is theirs

    def test_after_a_trial_that_failed_there_is_none_as_before(self, tmp_path):
        def train(config):
            raise ValueError("bad")

        finders = list(sys.meta_path)
        with pytest.raises(ValueError, match="bad"):
            run(train, tmp_path)
        assert session.get_session() is None
        assert sys.meta_path == finders

    def test_an_unknown_version_is_named(self, tmp_path, monkeypatch):
        monkeypatch.delattr(session, "_session")
        monkeypatch.setattr(sys.modules["ray"], "__version__", "9.9")
        with pytest.raises(TrainerError, match=r"tune\.report works in Ray 9\.9: call rltune\.report instead"):
            run(lambda config: None, tmp_path)

    def test_what_a_trial_has_not_is_said(self, tmp_path):
        with pytest.raises(AttributeError, match="rltune runs this trial and has no `trial_resources`"):
            run(lambda config: tune.get_context().get_trial_resources(), tmp_path)


def test_in_a_process_that_the_trial_has_forked_report_says_so(tmp_path):
    def train(config):
        if (child := os.fork()) == 0:
            try:
                tune.report({"loss": 1.0})
            except TrainerError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    assert run(train, tmp_path) == []
