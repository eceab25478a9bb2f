"""`run` and `demo`: what they say, and the code that they end with."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

FULL = ["--set", "search_space.lr.default=0.05", "--set", "search_space.batch.default=8", "--set", "n_trials=12"]


def test_a_study_runs_to_its_end(rltune, job):
    done = rltune("run", "study.yaml")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[:2] == ["small  in runs/small", "5 trials"]
    assert [line.split(" finished")[0] for line in lines if " finished " in line] == [
        f"trial {n} search" for n in range(5)
    ]
    assert "trial 0 search finished score=" in done.out
    assert "(the best so far)" in done.out
    assert "best of 5 single runs" in done.out
    assert "is partly luck" in done.out
    assert "runs/small/best_config.yaml" in done.out
    assert "\x1b" not in done.out
    assert done.err == ""
    assert (job / "runs/small/best_config.yaml").exists()


def test_the_same_again_runs_nothing_and_says_the_same(rltune, job):
    first = rltune("run", "study.yaml")
    second = rltune("run", "study.yaml")
    assert second.code == 0
    assert "finished already: 5 trials, nothing is left to run" in second.out
    assert "trial 5" not in second.out
    assert first.out.split("best of")[1] == second.out.split("best of")[1]


def test_more_trials_go_on(rltune, job):
    rltune("run", "study.yaml")
    more = rltune("run", "study.yaml", "--set", "n_trials=7")
    assert "goes on: search 5/7" in more.out
    assert "trial 6 search finished" in more.out
    assert "trial 7" not in more.out


def test_the_verdict_compares_with_the_default(rltune, job):
    done = rltune("run", "study.yaml", *FULL)
    assert done.code == 0, done.err
    out = done.out
    assert re.search("score on (untouched seeds|the seeds of the finals), higher is better", out)
    assert "  default   " in out
    assert "  gain      " in out
    assert "\nship: " in out or "\nkeep your default: " in out
    assert "changed" in out
    assert "trial 0 baseline finished" in out
    assert " final finished" in out


def test_a_changed_study_is_refused_unless_forced(rltune, job):
    rltune("run", "study.yaml")
    change = ["study.yaml", "--set", "seed=1", "--set", "n_trials=6"]
    refused = rltune("run", *change)
    assert refused.code == 2
    assert "seed: 0 -> 1" in refused.err
    assert "seed: 0 -> 1" in rltune("check", *change).out
    assert rltune("run", *change, "--force").code == 0


def test_what_has_changed_and_may_is_said(rltune, job):
    """As where a default of rltune's has changed: `auto` ended no trial early, and its study was kept so."""
    rltune("run", "study.yaml", "--set", "algorithm=auto", "--set", "pruner=none", "--set", "n_trials=2")
    more = rltune("run", "study.yaml", "--set", "algorithm=auto", "--set", "n_trials=3")
    assert more.code == 0, more.err
    told = [line for line in more.out.splitlines() if line.startswith("note: changed since")]
    assert told == [
        "note: changed since the last session: n_trials: 2 -> 3",
        "note: changed since the last session: pruner: none -> forecast",
    ]
    assert "changed since" not in rltune("run", "study.yaml", "--set", "algorithm=auto", "--set", "n_trials=3").out


def test_no_other_study_begins_among_the_files_of_one(rltune, job):
    rltune("run", "study.yaml", "--out", "here")
    before = {path: path.read_bytes() for path in (job / "here").rglob("*") if path.is_file()}
    refused = rltune("run", "study.yaml", "--set", "name=other", "--out", "here")
    assert refused.code == 2
    assert "name: small -> other" in refused.err
    assert {path: path.read_bytes() for path in (job / "here").rglob("*") if path.is_file()} == before


def test_json_is_alone_on_stdout(rltune, job):
    (job / "loud.py").write_text("print('loading')\ndef train(config):\n  print('hello')\n  return config['lr']\n")
    done = rltune("run", "study.yaml", "--trainer", "loud:train", "--json")
    assert done.code == 0
    result = done.json
    assert result["exit_code"] == 0
    assert result["trials"] == {"done": 5, "planned": 5, "complete": 5}
    assert result["best"]["resolved"].keys() == {"lr", "batch"}
    assert result["files"]["best_config"] == "runs/small/best_config.yaml"
    assert result["verdict"] is None
    assert "trial 4 search finished" in done.err
    assert "hello" in done.err


def test_out_is_the_folder_itself(rltune, job):
    assert rltune("run", "study.yaml", "--out", "here").code == 0
    assert (job / "here" / "journal.log").exists()
    assert not (job / "runs").exists()


def test_failures_end_the_study_with_3_and_show_why(rltune, job):
    done = rltune("run", "study.yaml", "--trainer", "job:broken", "--set", "n_trials=20", "--set", "executor=local")
    assert done.code == 3
    assert "trial 0 search failed after " in done.out
    assert ": RuntimeError: no such [device]\n" in done.out
    assert "ended early: all of the first 5 trials failed" in done.out
    assert "  loading the model\n" in done.out
    assert 'raise RuntimeError("no such [device]")' in done.out
    assert "nothing to ship: no trial is feasible" in done.out


def test_nothing_feasible_ends_with_3(rltune, job):
    constraint = ["--set", "evaluation.constraints={other: {max: 1}}"]
    done = rltune("run", "study.yaml", *constraint)
    assert done.code == 3
    assert "infeasible: other out of range" in done.out
    assert rltune("best", "runs/small").code == 3
    assert "infeasible" in rltune("list").out


def test_several_objectives(rltune, job):
    done = rltune("run", "study.yaml", "--set", "evaluation.secondary_metrics={other: minimize}")
    assert done.code == 0, done.err
    assert "other=3" in done.out
    assert "trials that no other beats in every objective: " in done.out
    assert rltune("show", "0").code == 0
    assert rltune("list").code == 0


def test_pruned_and_diverged_trials_have_their_lines(rltune, job):
    (job / "nan.py").write_text(
        "def train(config, trial):\n"
        "    trial.report(1, {'score': float('nan') if trial.number == 1 else 1.0 / (trial.number + 1)})\n"
        "    trial.report(2, {'score': 1.0 / (trial.number + 1)})\n"
    )
    pruner = "pruner={name: median, n_startup_trials: 0, n_warmup_steps: 0}"
    done = rltune("run", "study.yaml", "--trainer", "nan:train", "--set", pruner)
    assert done.code == 0
    assert "trial 1 search failed after " in done.out
    assert "diverged; " in done.out
    assert "trial 2 search pruned at 0.3333, step 1, in " in done.out
    assert "5 trials in " in done.out
    assert "1 failed (diverged)" in done.out
    listed = rltune("list", "--state", "pruned", "--json").json
    assert [row["number"] for row in listed] == [2, 3, 4]


def test_a_locked_folder_is_refused(rltune, job):
    from rltune.folder import StudyDir

    rltune("run", "study.yaml")
    with StudyDir(Path("runs/small")).locked():
        refused = rltune("run", "study.yaml", "--set", "n_trials=6")
    assert refused.code == 2
    assert "is already running this study" in refused.err


# --- demo ------------------------------------------------------------------------------------------------------------


def test_the_demo_without_torch_says_what_to_install(rltune, job, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    refused = rltune("demo")
    assert refused.code == 2
    assert "pip install 'rltune[demo]'" in refused.err


def test_the_demo_copies_its_example_and_runs_it(rltune, job, monkeypatch):
    """With a job that takes no time in place of the real one, which has its own tests."""
    example = job / "shipped"
    example.mkdir()
    shutil.copy(job / "job.py", example)
    (example / "study.yaml").write_text((job / "study.yaml").read_text().replace("small", "grpo-digits"))
    monkeypatch.setattr("rltune.cli.run._shipped_example", lambda: example)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: True)
    done = rltune("demo", "--set", "n_trials=2", "--json")
    assert done.code == 0, done.err
    assert done.json["folder"] == "runs/grpo-digits"
    assert (job / "runs/grpo-digits/example/job.py").exists()
    again = rltune("demo", "--set", "n_trials=2")
    assert "finished already" in again.out
    assert rltune("demo", "--out", "else", "--set", "n_trials=1").code == 0
    assert (job / "else" / "example" / "study.yaml").exists()


def test_the_shipped_example_is_found_and_can_be_checked(rltune, job):
    pytest.importorskip("torch")
    from rltune.cli.run import _shipped_example

    shown = rltune("check", str(_shipped_example() / "study.yaml"), "--json")
    assert shown.code == 0, shown.err
    assert shown.json["name"] == "grpo-digits"


def test_result_files_are_strict_json(rltune, job):
    rltune("run", "study.yaml", *FULL)
    for file in (job / "runs/small").rglob("*.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)
