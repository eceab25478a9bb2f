"""`refine`, the warm start that follows it, and the advice of `check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STUDY = """\
# Sorting, by GRPO.
name: small   # its folder

n_trials: 40
trainer: {function: "job:train"}

search_space:
  # what matters
  lr: {type: float, min: 1e-4, max: 0.9, log: true}   # orders of magnitude
  batch: {type: categorical, choices: [8, 16, 32]}
constraints:
    -   "lr * batch < 100"      # never violated
evaluation: {metric: score,   direction: maximize}  # the reward
executor: inline
algorithm: random
seed: 3
"""


@pytest.fixture
def done(rltune, job):
    """The working directory, where the study has run."""
    (job / "study.yaml").write_text(STUDY)
    assert rltune("run", "study.yaml").code == 0
    return job


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_next_study_is_the_users_own_file_with_what_is_new(rltune, done):
    shown = rltune("refine", "study.yaml", "-o", "next.yaml")
    assert shown.code == 0, shown.err
    lines = (done / "next.yaml").read_text().splitlines()
    assert lines[:4] == ["# Sorting, by GRPO.", "name: small-2   # its folder", "warm_start: runs/small", ""]
    assert "  # what matters" in lines
    (lr,) = [line for line in lines if line.startswith("  lr:")]
    assert lr.endswith("# orders of magnitude")
    assert "log: true" in lr
    assert "default: " in lr
    assert "min: 1e-4" not in lr
    assert "seed: 4" in lines
    kept = [line for line in STUDY.splitlines() if not line.startswith(("name", "seed", "  lr", "  batch"))]
    assert [line for line in lines if line in kept] == kept


def test_what_changed_is_a_table_with_reasons(rltune, done):
    shown = rltune("refine", "small")
    assert shown.code == 0, shown.err
    words = " ".join(shown.out.split())
    for part in (
        "small-2 after 40 configurations of small",
        "parameter before after reason",
        "lr 0.0001 to 0.9 ",
        "the best 8 of",
        "by luck 1 time in",
        "batch 8, 16, 32 32 made no difference in 40 configurations (importance 0.0",
        "default the recommended configuration, trial",
        "of runs/small in the new space, known from the start",
        "seed 4, so that",
        "rltune run small-2.yaml",
    ):
        assert part in words, part
    assert (done / "small-2.yaml").exists()


def test_as_json(rltune, done):
    found = rltune("refine", "small", "-o", "next.yaml", "--json").json
    best = rltune("best", "--json").json["best"]
    assert (found["name"], found["file"], found["seed"]) == ("small-2", "next.yaml", 4)
    assert [change["parameter"] for change in found["changes"]] == ["lr", "batch"]
    change = found["changes"][0]
    assert change["before"] == {"min": 1e-4, "max": 0.9}
    assert change["before"]["min"] < change["after"]["min"] < 0.3 < change["after"]["max"]
    assert found["default"] == {"trial": best["number"], "params": best["params"]}
    assert found["warm_start"]["folder"] == "runs/small"


def test_the_same_study_gives_the_same_file(rltune, done):
    rltune("refine", "study.yaml", "-o", "a.yaml")
    rltune("refine", "study.yaml", "-o", "b.yaml")
    assert (done / "a.yaml").read_text() == (done / "b.yaml").read_text()


def test_it_overwrites_nothing_unless_told_to(rltune, done):
    (done / "next.yaml").write_text("mine")
    refused = rltune("refine", "study.yaml", "-o", "next.yaml")
    assert refused.code == 2
    assert "next.yaml exists already; name another file with -o, or overwrite it with --force" in refused.err
    assert (done / "next.yaml").read_text() == "mine"
    assert rltune("refine", "study.yaml", "-o", "next.yaml", "--force").code == 0
    assert (done / "next.yaml").read_text() != "mine"


def test_too_few_trials_write_nothing(rltune, job):
    assert rltune("run", "study.yaml").code == 0  # five
    refused = rltune("refine", "study.yaml", "-o", "next.yaml")
    assert refused.code == 2
    assert "5 configurations have a value, and at least 12 are needed" in refused.err
    assert "raise `n_trials` by 7 or more" in refused.err
    assert not (job / "next.yaml").exists()


def test_a_file_that_was_changed_since_is_not_what_was_run(rltune, done):
    (done / "study.yaml").write_text(STUDY.replace("score,   direction: maximize", "other, direction: minimize"))
    assert rltune("refine", "study.yaml", "-o", "next.yaml").code == 0
    text = (done / "next.yaml").read_text()
    assert "metric: score" in text
    assert "# Sorting" not in text
    assert rltune("check", "next.yaml").code == 0


def test_it_lies_beside_the_study_file_and_names_the_folder_from_there(rltune, done, monkeypatch):
    below = done / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert rltune("refine", "../runs/small", "-o", "../deeper.yaml").code == 0
    assert "warm_start: runs/small" in (done / "deeper.yaml").read_text()
    assert rltune("refine", "../runs/small").code == 0
    assert "warm_start: ../runs/small" in (below / "small-2.yaml").read_text()


OTHER_SPELLINGS = """\
hyperparameter_optimization:
  n_trials: 40
  name: small
  algorithm: random
  trainer: {function: "job:train"}
  search_space:
    lr: ["float", 1e-4, 0.9, {log: true}]  # the guide's short form
    batch: &sizes {type: categorical, choices: [8, 16, 32]}
    other: *sizes
  evaluation: {metric: score, direction: maximize}
  executor: inline
"""


def test_the_root_key_short_forms_and_anchors(rltune, job):
    (job / "study.yaml").write_text(OTHER_SPELLINGS)
    assert rltune("run", "study.yaml").code == 0
    assert rltune("refine", "study.yaml", "-o", "next.yaml").code == 0
    text = (job / "next.yaml").read_text()
    assert text.startswith("hyperparameter_optimization:\n  n_trials: 40\n  name: small-2\n  warm_start: runs/small\n")
    assert "# the guide's short form" in text
    best = rltune("best", "--json").json["best"]["params"]
    space = rltune("check", "next.yaml", "--json").json["parameters"]
    assert {name: p["default"] for name, p in space.items()} == best
    assert space["lr"]["range"] != "1e-4 to 0.9"


def test_several_objectives_and_nothing_feasible_are_refused(rltune, done):
    two = STUDY.replace("{metric: score,   direction: maximize}", "{primary_metric: score, direction: maximize, "
                        "secondary_metrics: [other]}").replace("name: small", "name: two")  # fmt: skip
    (done / "two.yaml").write_text(two.replace("n_trials: 40", "n_trials: 3"))
    assert rltune("run", "two.yaml").code == 0
    refused = rltune("refine", "two")
    assert (refused.code, "2 objectives" in refused.err) == (2, True), refused.err
    assert rltune("run", "study.yaml", "--set", "name=broken", "--trainer", "job:broken").code == 3
    refused = rltune("refine", "broken")
    assert (refused.code, "no trial is feasible" in refused.err) == (2, True), refused.err


# --- the study that follows ------------------------------------------------------------------------------------------


@pytest.fixture
def followed(rltune, done):
    """The number of trials that the second study knows; it has run 12 of its own."""
    found = rltune("refine", "study.yaml", "-o", "next.yaml", "--json").json
    ended = rltune("run", "next.yaml", "--set", "n_trials=12", "--set", "protocol=simple")
    assert ended.code == 0, ended.err
    assert f"warm start: {found['warm_start']['trials']} of 40 trials of runs/small are known" in ended.out
    return found["warm_start"]["trials"]


def test_check_says_what_will_be_known(rltune, done):
    known = rltune("refine", "study.yaml", "-o", "next.yaml", "--json").json["warm_start"]["trials"]
    assert 0 < known < 40
    shown = rltune("check", "next.yaml")
    assert shown.code == 0, shown.err
    assert f"warm start: {known} of 40 trials of runs/small are known from the start; left out: " in shown.out
    assert "outside the search space" in shown.out


def test_known_trials_are_told_apart_everywhere(rltune, followed):
    status = rltune("status", "small-2", "--json").json
    assert status["earlier"] == followed
    assert status["trials"] == {"done": 12, "planned": 12, "complete": 12}
    assert set(status["phases"]) == {"search"}
    shown = rltune("status", "small-2").out
    assert f"known      {followed} trials of an earlier study" in shown
    assert "search 12/12" in shown
    listed = rltune("list", "small-2", "--purpose", "earlier", "--json").json
    assert len(listed) == followed
    assert all(isinstance(trial["source"], int) for trial in listed)
    assert len(rltune("list", "small-2", "--purpose", "search", "--json").json) == 12
    assert rltune("best", "small-2", "--json").json["best"]["purpose"] == "search"


def test_an_earlier_trial_is_not_run_again(rltune, followed):
    refused = rltune("retry", "0", "small-2", "--force")
    assert refused.code == 2
    assert "trial 0 ran in an earlier study, as trial " in refused.err


def test_going_on_adds_nothing(rltune, followed):
    again = ["run", "next.yaml", "--set", "n_trials=14", "--set", "protocol=simple", "--json"]
    ended = rltune(*again).json
    assert (ended["trials"]["done"], ended["earlier"]) == (14, followed)


def test_a_wrong_folder_is_named_with_its_line(rltune, job):
    text = (job / "study.yaml").read_text() + "warm_start: runs/smal\n"
    (job / "study.yaml").write_text(text)
    wrong = rltune("check", "study.yaml")
    assert wrong.code == 2
    assert wrong.err.startswith(f"study.yaml:{len(text.splitlines())}: warm_start: there is no study in ")
    assert "runs/smal" in wrong.err


def test_a_third_study_follows_the_second(rltune, followed, done):
    found = rltune("refine", "next.yaml", "--json")
    assert found.code == 0, found.err
    assert (found.json["name"], found.json["seed"]) == ("small-3", 5)
    assert (done / "small-3.yaml").exists()
    assert rltune("check", "small-3.yaml").code == 0


# --- advice before a study -------------------------------------------------------------------------------------------


def test_check_gives_advice_and_no_warning(rltune, job):
    shown = rltune("check", "study.yaml", "--set", "search_space.lr.log=false")
    assert (
        "advice   `lr` looks like a learning rate, but is searched on a linear scale; give it `log: true`" in shown.out
    )
    assert "advice   5 search trials are few for 2 parameters that vary; about 10 for each, 20 in all" in shown.out
    advice = rltune("check", "study.yaml", "--json").json["advice"]
    assert [(each["kind"], each["parameter"]) for each in advice] == [("few_trials", None)]
    assert rltune("check", "study.yaml", "--set", "n_trials=20", "--json").json["advice"] == []


def test_the_shipped_example_hears_only_that_it_is_short(rltune, job):
    example = Path(__file__).parents[2] / "examples" / "grpo_digits" / "study.yaml"
    shown = rltune("check", str(example), "--json")
    assert [each["kind"] for each in json.loads(shown.out)["advice"]] in ([], ["few_trials"])
