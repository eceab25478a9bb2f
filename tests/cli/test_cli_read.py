"""Verbs that read: on a finished study, a running one, a dead one, a copy and a broken one; and `retry`."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from pathlib import Path

import pytest

READING = [
    ["status"],
    ["status", "--json"],
    ["list"],
    ["list", "--json"],
    ["list", "--sort", "value"],
    ["show", "1"],
    ["show", "1", "--json"],
    ["best"],
    ["best", "--json"],
    ["best", "--overrides"],
    ["best", "--top", "2"],
    ["export"],
    ["export", "--format", "json"],
]


@pytest.fixture
def study(job, rltune):
    """A finished study in runs/small, and its digest."""
    assert rltune("run", "study.yaml").code == 0
    return job / "runs" / "small"


def digest(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("verb", READING, ids=" ".join)
def test_reading_writes_nothing(rltune, study, verb):
    before = digest(study)
    done = rltune(*verb)
    assert done.code == 0, done.err
    assert done.out
    if verb[0] in ("status", "list", "show") and "--json" not in verb:
        assert max(map(len, done.out.splitlines())) <= 80
    assert digest(study) == before


@pytest.mark.parametrize("place", ["runs/small", "small", "study.yaml", "runs/small/study.yaml"])
def test_a_study_is_its_folder_its_name_or_its_file(rltune, study, place):
    assert rltune("status", place, "--json").json["folder"] == "runs/small"
    assert rltune("show", "2", place, "--json").json["number"] == 2
    assert rltune("show", place, "2", "--json").json["number"] == 2


def test_the_working_directory_may_be_the_study(rltune, study, monkeypatch):
    monkeypatch.chdir(study)
    assert rltune("status", "--json").json["name"] == "small"


def test_with_several_studies_one_must_be_named(rltune, study):
    shutil.copytree(study, study.parent / "copy")
    which = rltune("status")
    assert which.code == 2
    assert which.err == "rltune: which study? there are runs/copy, runs/small; name one of them\n"
    assert rltune("status", "copy", "--json").json["trials"]["complete"] == 5


def test_what_is_no_study(rltune, job):
    assert rltune("status").err == (
        "rltune: which study? there is none under runs; `rltune run STUDY.yaml` makes one\n"
    )
    assert "this study has not run yet" in rltune("status", "study.yaml").err
    (job / "empty").mkdir()
    refused = rltune("list", "empty")
    assert refused.code == 2
    assert refused.err.startswith("rltune: empty: not a study folder; there is none under runs")
    assert rltune("best", "nowhere").err.startswith("rltune: nowhere: there is no such study")


def test_what_is_no_trial(rltune, study):
    assert rltune("show", "5").err == "rltune: there is no trial 5; there are trials 0 to 4\n"
    assert rltune("show", "x").code == 2
    assert rltune("show", "1", "2").code == 2
    assert rltune("show", "1", "a", "b").code == 2


def test_status_of_a_finished_study(rltune, study):
    shown = rltune("status")
    assert "small  5 of 5 trials" in shown.out
    assert "search 5/5" in shown.out
    assert "finished" in shown.out
    row = rltune("status", "--json").json
    assert row["running_in"] is None
    assert row["phase"] is None
    assert row["best"]["feasible"] is True


def test_list_chooses_and_sorts(rltune, study):
    rows = rltune("list", "--sort", "value", "--json").json
    values = [row["values"][0] for row in rows]
    assert values == sorted(values, reverse=True)
    assert len(rltune("list", "--purpose", "search", "--json").json) == 5
    assert rltune("list", "--purpose", "final", "--json").json == []
    assert "no trial is like that" in rltune("list", "--state", "failed").out


def test_a_narrow_table_counts_what_it_leaves_out(rltune, study, monkeypatch):
    wide = rltune("list").out
    assert "batch" in wide.splitlines()[0]
    assert "more parameter" not in wide
    monkeypatch.setenv("COLUMNS", "46")
    narrow = rltune("list").out
    assert "batch" not in narrow.splitlines()[0]
    assert " more parameter" in narrow


def test_show_has_everything(rltune, job):
    assert rltune("run", "study.yaml", "--set", "executor=local").code == 0
    shown = rltune("show", "1").out
    for words in ("trial 1  search  complete", "seed", "lr", "batch", "score", "other", "curve", "stdout.log"):
        assert words in shown
    assert "trial 1 begins" in shown
    assert "3 measurements" in shown


def test_show_explains_a_failure(rltune, job):
    rltune("run", "study.yaml", "--trainer", "job:broken", "--set", "n_trials=1")
    shown = rltune("show", "0").out
    assert "failed: error" in shown
    assert "RuntimeError: no such [device]" in shown
    assert 'raise RuntimeError("no such [device]")' in shown


def test_show_has_the_command(rltune, job):
    (job / "job.sh").write_text('echo "{\\"score\\": $1}" >> $RLTUNE_METRICS; echo "hello, $1"\n')
    ran = rltune("run", "study.yaml", "--set", 'trainer.command=[sh, job.sh, "{lr}", "{batch}"]')
    assert ran.code == 0, ran.out
    shown = rltune("show", "0").out
    assert "sh job.sh 0." in shown
    assert "hello, 0." in shown
    assert "runs/small/trials/0000/overrides.txt" in shown


def test_best_as_words_for_a_command(rltune, study):
    words = rltune("best", "--overrides").out
    assert words.count("\n") == 1
    given = dict(word.split("=") for word in words.split())
    best = rltune("best", "--json").json["best"]
    assert {"lr": float(given["lr"]), "batch": int(given["batch"])} == best["resolved"]
    assert f"  {words}" in rltune("best").out


def test_best_of_the_top(rltune, study):
    top = rltune("best", "--top", "3", "--json").json["top"]
    assert len(top) == 3
    assert top[0]["number"] == rltune("best", "--json").json["best"]["number"]


def test_derived_values_belong_to_the_best(rltune, job):
    assert rltune("run", "study.yaml", "--set", "derived={steps: 64 // batch}").code == 0
    best = rltune("best", "--json").json["best"]
    assert best["resolved"]["steps"] == 64 // best["params"]["batch"]
    assert "derived" in rltune("show", str(best["number"])).out


def test_derived_values_that_need_the_base_config_are_named(rltune, job):
    (job / "config.yaml").write_text("lr: 0.1\nbatch: 8\nbudget: 640\n")
    more = ["--set", "trainer.config=config.yaml", "--set", "derived={steps: budget // batch}"]
    assert rltune("run", "study.yaml", *more).code == 0
    shown = rltune("best", "--overrides")
    unknown = "rltune: steps follow from the trainer's config, which is not here; runs/small/best_overrides.txt has"
    assert ("steps=" in shown.out) != shown.err.startswith(unknown)


def test_export(rltune, study):
    rows = list(csv.DictReader(io.StringIO(rltune("export").out)))
    assert [row["number"] for row in rows] == list("01234")
    assert float(rows[0]["score"]) == rltune("export", "-f", "json").json[0]["values"][0]
    done = rltune("export", "-o", "trials.csv")
    assert done.out == "wrote trials.csv\n"
    assert Path("trials.csv").read_text() == (study / "trials.csv").read_text()
    assert rltune("export", "-o", "nowhere/trials.csv").code == 2


# --- broken folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", READING, ids=" ".join)
def test_a_folder_that_lost_much_still_reads(rltune, study, verb):
    shutil.rmtree(study / "trials")
    for file in study.iterdir():
        if file.name not in ("study.yaml", "journal.log"):
            file.unlink()
    with (study / "journal.log").open("ab") as file:
        file.write(b'{"op_code": 8, "trial')
    done = rltune(*verb)
    assert done.code == 0, done.err


def test_a_folder_without_a_journal_says_so(rltune, study):
    (study / "journal.log").unlink()
    done = rltune("status")
    assert done.code == 2
    assert "there is no journal.log in it" in done.err


def test_a_study_whose_process_died(rltune, study):
    from rltune import session

    session.read(study).study.ask()
    assert "cut short" in rltune("status").out
    assert "cut short" in rltune("list").out
    assert rltune("show", "5").code == 0


# --- retry and stop ---------------------------------------------------------------------------------------------------


def test_retry_runs_a_failed_trial_again(rltune, job, monkeypatch):
    monkeypatch.setenv("RLTUNE_TEST_MENDED", str(job / "mended"))
    start = ["run", "study.yaml", "--trainer", "job:once", "--set", "n_trials=3"]
    assert rltune(*start).code == 3
    (job / "mended").touch()
    queued = rltune("retry", "0", "2")
    assert queued.code == 0
    assert queued.out == "queued again: trials 0, 2; the next `rltune run` on its study file runs it\n"
    done = rltune(*start)
    assert done.code == 0
    assert "2 trials from before will be run first" in done.out
    rows = rltune("list", "--json").json
    assert [(row["retry_of"], row["state"]) for row in rows[3:]] == [(0, "complete"), (2, "complete")]
    assert rows[3]["params"] == rows[0]["params"]
    assert rows[3]["seed"] == rows[0]["seed"]
    assert rltune("retry", "0").err == "rltune: trial 0 has been run again already, as trial 3\n"
    assert "replaced by" in rltune("show", "0").out
    assert rltune("status", "--json").json["failures"] == {"error": 1}


def test_retry_refuses_what_did_not_fail(rltune, study):
    refused = rltune("retry", "1", "runs/small")
    assert refused.code == 2
    assert refused.err == "rltune: trial 1 did not fail, it is complete; `--force` runs it again all the same\n"
    assert rltune("retry", "9").code == 2
    assert rltune("retry", "1", "--force", "--json").json == {"queued": [1], "running_in": None}
    assert rltune("retry", "5").err == "rltune: trial 5 is waiting; only one that has ended can be run again\n"


def test_retry_mends_a_torn_journal_before_it_writes(rltune, study):
    with (study / "journal.log").open("ab") as file:
        file.write(b'{"op_code": 8, "trial')
    assert rltune("retry", "1", "--force").code == 0
    assert len(rltune("list", "--json").json) == 6


def test_stop_where_nothing_runs(rltune, study):
    before = digest(study)
    assert rltune("stop").out == "runs/small: no process is running this study\n"
    assert rltune("stop", "--json").json == {"folder": "runs/small", "was_running": False, "ended": True}
    assert digest(study) == before
