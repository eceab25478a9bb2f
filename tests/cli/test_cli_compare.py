"""`compare`: what differs between two studies or two trials, and when their values say nothing about each other."""

from __future__ import annotations

import re

import pytest

from rltune.reporting.wording import MISSING

STUDY = """\
name: one
n_trials: 24
trainer: {function: "noisy:train"}
search_space:
  lr: {type: float, min: 0.01, max: 0.8, log: true, default: 0.02}
  batch: {type: categorical, choices: [8, 16, 32], default: 16}
evaluation: {metric: score, direction: maximize}
executor: inline
algorithm: random
pruner: none
protocol: {name: full, claim_seeds: 4}
"""

NOISY = """
import random

def train(config, trial):
    noise = random.Random(trial.seed).gauss(0, 0.01)
    steps = config.get("steps", 4)
    for step in range(1, steps + 1):
        trial.report(step, {"score": 1 - (config["lr"] - 0.3) ** 2 - 0.5 / step + noise, "other": 1.0})
"""


@pytest.fixture
def study(rltune, job):
    """Runs a study that differs from the one above by the replacements."""
    (job / "noisy.py").write_text(NOISY)

    def run(name, *changes):
        text = STUDY.replace("name: one", f"name: {name}")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (job / f"{name}.yaml").write_text(text)
        assert rltune("run", f"{name}.yaml").code == 0

    return run


@pytest.fixture
def two(study):
    study("one")
    study("two", ("max: 0.8", "max: 0.03"), ("  batch:", "  size:"), ("n_trials: 24", "n_trials: 30"))


def words(shown):
    assert shown.code == 0, shown.err
    return " ".join(shown.out.split())


def test_what_differs_between_two_studies(rltune, two):
    shown = words(rltune("compare", "one", "two"))
    for part in (
        "A one runs/one B two runs/two",
        "lr 0.01 to 0.8, log, default 0.02 0.01 to 0.03, log, default 0.02",
        f"batch 8, 16, 32, default 16 {MISSING} size {MISSING} 8, 16, 32, default 16",
        "n_trials 24 30",
        "full runs (FRE)",
        "verdict ship, gain +0.",
        "on 4 fresh seeds",
        "noise of one run ± 0.0",
        "B over A -0.",
        "positive where B is better; 95 % interval",
        "what each recommends",
    ):
        assert part in shown, part
    assert "cannot be compared" not in shown
    ended = [len(rltune("list", name, "--json").json) for name in ("one", "two")]
    assert f"trials {ended[0]} {ended[1]} complete {ended[0]} {ended[1]}" in shown
    assert f"full runs (FRE) {ended[0]}.0 {ended[1]}.0" in shown


def test_the_gain_has_the_sign_of_the_better(rltune, two):
    there, back = (rltune("compare", *pair, "--json").json["gain"] for pair in (("one", "two"), ("two", "one")))
    assert there["gain"] == pytest.approx(-back["gain"])
    assert there["gain"] < 0  # the second study could not reach the best learning rate
    assert there["interval"][1] < 0
    assert there["p_better"] < 0.01


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("metric: score", "metric: other"), "another objective: evaluation.metric: score -> other"),
        (('noisy:train"}', 'noisy:train", config: {data: b}}'), "what runs, or its data, is another: `trainer.config"),
        (('noisy:train"}', 'noisy:train", horizon: 4}'), "another budget for each trial: trainer.horizon: absent -> 4"),
        (
            ("maximize}", "maximize, constraints: {other: {max: 2}}}"),
            "feasible is something else: evaluation.constraints",
        ),
    ],
)
def test_values_that_mean_something_else_are_not_set_against_each_other(rltune, study, change, reason):
    study("one")
    study("two", change)
    shown = rltune("compare", "one", "two")
    assert "their values cannot be compared" in words(shown)
    assert reason in words(shown)
    assert "B over A" not in shown.out
    found = rltune("compare", "one", "two", "--json").json
    assert (found["comparable"], found["gain"]) == (False, None)


def test_single_runs_do_not_decide(rltune, study):
    study("one", ("protocol: {name: full, claim_seeds: 4}", "protocol: simple"))
    study("two", ("protocol: {name: full, claim_seeds: 4}", "protocol: simple"), ("24", "12"))
    shown = words(rltune("compare", "one", "two"))
    assert "by one run" in shown
    assert "which is better, nobody can say" in shown


def test_two_trials_of_one_study(rltune, study):
    study("one")
    shown = words(rltune("compare", "3", "7", "one"))
    assert "A one#3 search complete B one#7 search complete" in shown
    assert "curves score at 4 common steps, higher is better" in shown
    assert re.search(r"B is better at [04] of 4 common steps", shown)
    assert "one run each, so part of the difference is luck: runs of the default alone vary by ± 0.0" in shown
    trials = rltune("list", "one", "--json").json
    found = rltune("compare", "one#3", "one#7", "--json").json
    assert found["a"]["values"] == trials[3]["values"]
    for row in found["curve"]:
        assert row["a"] == trials[3]["curve"][str(row["step"])]
        assert row["b"] == trials[7]["curve"][str(row["step"])]
    assert [row["step"] for row in found["curve"]] == [1, 2, 3, 4]


def test_curves_of_two_lengths_meet_where_both_have_values(rltune, study):
    study("one")
    study("two", ('noisy:train"}', 'noisy:train", config: {steps: 9}}'))
    found = rltune("compare", "one#3", "two#4", "--json").json
    assert [row["step"] for row in found["curve"]] == [1, 2, 3, 4]
    shown = words(rltune("compare", "one#3", "two#4"))
    assert "A has 4 steps, B 9 steps" in shown
    assert "what runs, or its data, is another: `trainer.config.steps`" in shown


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("one",), "give two studies or two trials, as in"),
        (("one", "one"), "runs/one is named twice"),
        (("one#1", "one#1"), "trial 1 is named twice"),
        (("one", "3"), "give two studies or two trials"),
        (("3", "99", "one"), "there is no trial 99; there are trials 0 to "),
        (("one", "nine"), "there is no such study; there is runs/one"),
    ],
)
def test_what_cannot_be_compared_is_named(rltune, study, given, told):
    study("one")
    shown = rltune("compare", *given)
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err
