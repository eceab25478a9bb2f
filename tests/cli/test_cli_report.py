"""`report`: on a finished study, a copy, a dead one, an empty one; and what `show` says of folds and constraints."""

from __future__ import annotations

import re
import shutil

import pytest

TRAIN = """
import math

def train(config, trial):
    x = math.log10(config["lr"])
    for step in range(1, 4):
        trial.report(step, {"score": 1 - (x + 2) ** 2 - 0.5 / step, "kl": config["lr"], "cost": float(config["batch"])})
    if x > -0.5:
        raise ValueError("lr is too high")

def folds(config, trial):
    return {"score": config["lr"] + trial.fold, "kl": 0.25}
"""

STUDY = """\
name: small
n_trials: 24
trainer: {function: "job2:train"}
search_space:
  lr: {type: float, min: 1e-4, max: 1.0, log: true, default: 0.001}
  batch: {type: categorical, choices: [8, 16, 32], default: 8}
evaluation: {metric: score, direction: maximize, constraints: {kl: {max: 0.2}}}
executor: inline
algorithm: random
"""


@pytest.fixture
def study(job, rltune):
    """A finished study in runs/small, with failures, infeasible trials, a baseline and finals."""
    (job / "job2.py").write_text(TRAIN)
    (job / "study.yaml").write_text(STUDY)
    assert rltune("run", "study.yaml").code == 0
    return job / "runs" / "small"


def test_it_answers_in_the_order_of_a_readers_questions(rltune, study):
    done = rltune("report")
    assert done.code == 0, done.err
    heads = [
        "small  ",
        " seeds, higher is better",
        "best so far",
        "\nparameters",
        "\nlr  score",
        "\ntime",
        "\nfailures",
    ]
    places = [done.out.index(head) for head in heads]
    assert places == sorted(places)
    assert "ValueError: lr is too high" in done.out
    assert max(map(len, done.out.splitlines())) < 100
    assert "\x1b" not in done.out


def test_json_has_the_numbers_and_is_the_same_each_time(rltune, study):
    first, second = rltune("report", "--json"), rltune("report", "--json")
    assert first.out == second.out
    row = first.json
    assert row["importance"]["fanova"]["lr"] > 0.8
    assert row["verdict"]["winner"]["params"] == row["recommended"]["params"]
    text = rltune("report").out
    best = row["history"]["best"]
    assert re.search(rf"^  {best['number']} +{best['value']:.4g} ", text, re.MULTILINE)
    error = next(f for f in row["failures"] if f["cause"] == "error")
    assert f"error        {len(error['trials'])} " in text


def test_a_copy_and_a_torn_journal_say_the_same(rltune, study):
    whole = rltune("report", "small", "--json").out
    shutil.copytree(study, study.parent / "copy")
    shutil.rmtree(study.parent / "copy" / "trials")
    with (study.parent / "copy" / "journal.log").open("ab") as file:
        file.write(b'{"op_code": 8, "trial')
    assert rltune("report", "copy", "--json").out == whole


def test_a_dead_study_and_an_empty_one(rltune, study):
    from rltune import session
    from rltune.storage import open_study

    session.read(study).study.ask()
    assert "1 running" in rltune("report").out
    (study / "journal.log").unlink()
    (study / "trials.csv").unlink()
    session_config = session.cfg.load(study / "study.yaml")
    open_study("journal", session.StudyDir(study), session_config.name, ["maximize"])
    empty = rltune("report")
    assert empty.code == 0
    assert empty.out == "small  0 trials\n\nnothing to ship: no trial is feasible yet\n"
    assert rltune("report", "--json").json["history"]["steps"] == []


def test_another_objective(rltune, study, job):
    both = ["--set", "evaluation.secondary_metrics=[cost]", "--set", "name=both", "--set", "n_trials=12"]
    assert rltune("run", "study.yaml", *both).code == 0
    assert "best so far  score, higher is better" in rltune("report", "both").out
    shown = rltune("report", "both", "--metric", "cost").out
    assert "best so far  cost, lower is better" in shown
    refused = rltune("report", "both", "-m", "costs")
    assert refused.code == 2
    assert refused.err == (
        "rltune: --metric: `costs` is no objective of this study, which has `score`, `cost` (did you mean `cost`?)\n"
    )


def test_the_same_from_python(rltune, study):
    import json

    import rltune as package

    analysis = package.load(study).report()
    assert json.loads(json.dumps(analysis.to_json())) == rltune("report", "--json").json


def test_a_parameter_that_follows_the_trainers_own_config(rltune, study, job):
    (job / "config.yaml").write_text("lr: 0.01\nbatch: 8\nbudget: 64\n")
    more = ["--set", "trainer.config=config.yaml", "--set", "constraints=[batch * 2 <= budget]", "--set", "name=own"]
    assert rltune("run", "study.yaml", *more).code == 0
    assert rltune("report", "own").code == 0


def test_show_has_constraints_and_folds(rltune, study, job):
    more = ["--trainer", "job2:folds", "--set", "name=cv", "--set", "n_trials=1"]
    more += ["--set", "evaluation.cross_validation=true", "--set", "evaluation.n_folds=3"]
    rltune("run", "study.yaml", *more)
    shown = rltune("show", "0", "cv").out
    assert re.search(r"^  kl +0.25 +missed by 0.05$", shown, re.MULTILINE)
    assert re.search(r"^  fold +score +kl", shown, re.MULTILINE)
    assert re.search(r"^  2 +2.001 +0.25", shown, re.MULTILINE)
    assert re.search(r"^  mean +1.001 +0.25", shown, re.MULTILINE)
    assert re.search(r"^  sd +1 +0", shown, re.MULTILINE)
    assert "fold_2/score" not in shown
    kept = rltune("show", "0", "small").out
    assert re.search(r"^  kl +0.001 +kept, by 0.199$", kept, re.MULTILINE)
