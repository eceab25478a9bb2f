"""The guide's two study files as they are: only the trainer and the number of trials come from the command line."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def rltune(*words):
    return subprocess.run([sys.executable, "-m", "rltune", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("which", "n_trials"), [(0, 5), (1, 4)], ids=["basic", "advanced"])
def test_it_runs(yaml_examples, tmp_path, which, n_trials):
    (tmp_path / "study.yaml").write_text(yaml_examples[which])
    options = ["--trainer", "examples.digits:train", "--set", f"n_trials={n_trials}", "--set", "executor.workers=2"]
    checked = rltune("check", "study.yaml", *options)
    assert checked.returncode == 0, checked.stderr
    done = rltune("run", "study.yaml", *options, "--out", "s")
    assert done.returncode == 0, done.stdout + done.stderr
    trials = json.loads(rltune("list", "s", "--json").stdout)
    assert len(trials) == n_trials
    assert {t["state"] for t in trials} <= {"complete", "pruned"}
    complete = [t for t in trials if t["state"] == "complete"]
    assert complete
    for trial in complete:
        assert len([name for name in trial["metrics"] if name.endswith("/validation_loss")]) == 5
        assert isinstance(trial["params"]["learning_rate"], float)  # `1e-5` is a number here, not a text
        if which == 1:
            assert len(trial["values"]) == 3
            assert trial["values"][1] == trial["metrics"]["training_time"]
            assert trial["values"][2] == trial["metrics"]["memory_usage"] > 1e6
    assert rltune("best", "s").returncode == 0


def test_check_says_whose_patience_it_is(yaml_examples, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml_examples[1])
    said = " ".join(rltune("check", "study.yaml", "--trainer", "examples.digits:train").stdout.split())
    assert "early_stopping looks at each fold's own curve" in said
    assert "`study_patience`" in said


def test_without_a_trainer_it_says_what_is_missing(yaml_examples, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml_examples[0])
    done = rltune("run", "study.yaml")
    assert done.returncode == 2
    assert "use --trainer pkg.module:train" in done.stderr
