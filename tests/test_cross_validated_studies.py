"""Cross-validation in real studies: processes of their own, indices by scikit-learn, commands."""

import subprocess
import sys
import textwrap

import pytest

import rltune
from rltune import config, session
from rltune.evaluation.folds import fold_values
from rltune.folder import StudyDir
from rltune.types import Cause

LR = {"lr": {"type": "float", "min": 1e-3, "max": 10.0, "log": True}}

JOB = """
    import os
    from sklearn.datasets import load_iris
    from sklearn.linear_model import SGDClassifier

    def dataset():
        print("loaded in", os.getpid())
        return load_iris(return_X_y=True)

    X, y = load_iris(return_X_y=True)

    def train(config, train_idx, val_idx, trial):
        model = SGDClassifier(eta0=config["lr"], learning_rate="constant", random_state=trial.seed)
        for epoch in range(1, 4):
            model.partial_fit(X[train_idx], y[train_idx], classes=range(3))
            trial.report(epoch, accuracy=model.score(X[val_idx], y[val_idx]), n=len(val_idx))
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    (tmp_path / "job.py").write_text(textwrap.dedent(JOB))
    monkeypatch.chdir(tmp_path)
    return "job:train"


def tuned(trainer, out, *, evaluation=None, **study):
    evaluation = {"cross_validation": True, **(evaluation or {})}
    return rltune.tune(
        trainer, LR, metric="accuracy", direction="maximize", out=out, evaluation=evaluation, protocol="simple", **study
    )


@pytest.mark.parametrize("warm", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["forked", "started"])
def test_a_function_gets_the_samples_of_its_fold(job, tmp_path, warm):
    folds = {"kind": "stratified", "data": "job:dataset", "race": False, "parallel": 2}
    executor = {"workers": 2, "warm": warm}
    result = tuned(job, tmp_path / "s", n_trials=1, evaluation={"cross_validation": folds}, executor=executor)
    for record in result.records:
        assert record.cause is None, record.message
        scores = fold_values(record.metrics, "accuracy", 5)
        assert len(scores) == 5
        assert record.value == pytest.approx(sum(scores.values()) / 5)
        assert fold_values(record.metrics, "n", 5) == dict.fromkeys(range(5), 30.0)
        assert record.metrics["memory_usage"] > 1e6
    logs = [(tmp_path / "s" / "trials" / "0000" / f"fold_{i}" / "stdout.log").read_text() for i in range(5)]
    assert ("loaded in" in logs[0]) is not warm  # a warm study has loaded its data once, before its first trial


def test_functions_from_a_notebook_and_repeated_folds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def data():
        return 12

    def train(config, fold, repeat, train_idx, val_idx):
        seen.append((repeat, fold, tuple(val_idx)))
        return config["lr"]

    folds = {"repeats": 2, "data": data, "race": False}
    evaluation = {"cross_validation": folds, "n_folds": 3}
    result = tuned(train, tmp_path / "s", n_trials=2, evaluation=evaluation, executor="inline")
    assert all(r.value == pytest.approx(r.params["lr"]) for r in result.records)
    assert len(seen) == 12
    for repeat in (0, 1):
        first = [val for r, _, val in seen[:6] if r == repeat]
        assert sorted(i for val in first for i in val) == list(range(12))
    assert {val for r, _, val in seen if r == 0}.isdisjoint({val for r, _, val in seen if r == 1})
    assert set(seen[:6]) == set(seen[6:])  # every configuration meets the same folds


COMMAND = """
    import json, os, sys
    fold, n_folds, repeat = map(int, sys.argv[1:])
    assert (fold, n_folds, repeat) == tuple(int(os.environ[f"RLTUNE_{k}"]) for k in ("FOLD", "N_FOLDS", "REPEAT"))
    with open(os.environ["RLTUNE_METRICS"], "a") as file:
        file.write(json.dumps({"step": 1, "accuracy": fold + 10 * repeat}) + "\\n")
"""


def test_a_command_is_told_its_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text(textwrap.dedent(COMMAND))
    (tmp_path / "study.yaml").write_text(
        textwrap.dedent(f"""
        trainer:
          command: ["{sys.executable}", job.py, "{{fold}}", "{{n_folds}}", "{{repeat}}"]
          env: {{LR: "{{lr}}"}}
        search_space: {{lr: {{type: categorical, choices: [1, 2, 3]}}}}
        evaluation:
          metric: accuracy
          direction: maximize
          cross_validation: {{repeats: 2, race: false}}
          n_folds: 3
        n_trials: 1
        """)
    )
    result = session.run(config.load("study.yaml"))
    (record,) = result.records
    assert record.cause is None, record.message
    assert fold_values(record.metrics, "accuracy", 6) == {0: 0, 1: 1, 2: 2, 3: 10, 4: 11, 5: 12}
    assert record.value == pytest.approx(6.0)


def test_a_fold_that_breaks_says_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def train(config, fold):
        if fold == 2:
            raise KeyError("column")
        return 1.0

    result = tuned(train, tmp_path / "s", n_trials=1, executor="inline")
    assert result.records[0].cause is Cause.ERROR
    assert result.records[0].message.startswith("fold 2 of 5: KeyError: 'column'")


@pytest.mark.parametrize(
    ("train", "folds", "said"),
    [
        (lambda config: 1.0, True, "takes no `fold` (write train(config, fold)"),
        (lambda config, train_idx, val_idx: 1.0, True, "takes indices, and nothing says of which data"),
        (lambda config, fold: 1.0, {"data": lambda: 10}, "takes neither `train_idx` nor `val_idx`"),
        (lambda config, train_idx: 1.0, {"data": lambda: 3}, "5 folds need at least 5"),
        (lambda config, train_idx: 1.0, {"data": lambda: 1 / 0}, "loading the data failed: ZeroDivisionError"),
        (lambda config, train_idx: 1.0, {"data": lambda: 9, "kind": "stratified"}, "has no y"),
    ],
)
def test_what_does_not_fit_together_is_said_before_anything_runs(tmp_path, train, folds, said):
    with pytest.raises(rltune.RltuneError) as caught:
        tuned(train, tmp_path / "s", n_trials=1, evaluation={"cross_validation": folds})
    assert said in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_indices_without_cross_validation(tmp_path):
    with pytest.raises(rltune.RltuneError, match="takes indices, which only cross-validation has"):
        rltune.tune(lambda config, train_idx: 1.0, LR, metric="x", out=tmp_path / "s")


def test_data_for_a_command(tmp_path):
    mapping = {
        "trainer": {"command": ["true", "{lr}"]},
        "search_space": LR,
        "evaluation": {"metric": "x", "direction": "minimize", "cross_validation": {"data": "job:dataset"}},
    }
    with pytest.raises(rltune.RltuneError, match=r"cross_validation\.data: does nothing: only a function takes"):
        session.prepare(config.from_mapping(mapping), StudyDir(tmp_path))


def test_repeats_for_a_function_that_cannot_tell_them_apart(tmp_path):
    evaluation = {"cross_validation": {"repeats": 3}}
    with pytest.raises(rltune.RltuneError, match=r"would train the same folds 3 times: .* takes no `repeat`"):
        tuned(lambda config, fold: 1.0, tmp_path / "s", n_trials=1, evaluation=evaluation)


def test_racing_and_side_by_side_folds_may_change_while_a_study_goes_on(tmp_path):
    def train(config, fold, repeat):
        return config["lr"]

    def go_on(n_trials, **folds):
        evaluation = {"cross_validation": {**folds}}
        return tuned(train, tmp_path / "s", n_trials=n_trials, evaluation=evaluation, executor="inline")

    go_on(1)
    assert len(go_on(2, race=False, parallel=2).records) == 2
    with pytest.raises(rltune.RltuneError, match="the study has changed"):
        go_on(3, repeats=2, race=False)


def test_where_the_default_is_the_best_the_study_ends_without_finals(tmp_path):
    def train(config, fold):
        return -abs(config["lr"] - 0.1) + fold / 1000

    result = rltune.tune(
        train,
        {"lr": {**LR["lr"], "default": 0.1}},
        metric="accuracy",
        direction="maximize",
        n_trials=20,
        evaluation={"cross_validation": True},
        out=tmp_path / "s",
        executor="inline",
    )
    assert {r.stopped_by for r in result.records if r.purpose == "search"} == {"race"}
    assert not [r for r in result.records if r.purpose == "final"]
    assert result.best.params["lr"] == 0.1
    shown = subprocess.run(
        [sys.executable, "-m", "rltune", "status", str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    assert "finished" in shown.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "rltune", "best", str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    assert "keep your default" in shown.stdout
