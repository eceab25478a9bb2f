"""A tracker gets every trial once; and whatever it does to itself, the study does not notice."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

import rltune
from rltune import config as cfg
from rltune import session
from rltune.cli.app import app
from rltune.errors import StudyFileError
from rltune.folder import StudyDir
from rltune.trackers import processes
from trackers import spies

SPY = "trackers.spies:Spy"


@pytest.fixture
def little_patience(monkeypatch):
    monkeypatch.setattr(processes, "CLOSING_SECONDS", 4.0)


def test_it_is_told_of_every_trial_in_its_order(tmp_path):
    result = spies.study(tmp_path, SPY)
    ((_, name, parameters),) = spies.told(tmp_path, "open")
    assert (name, parameters) == (result.config.name, ["lr", "optimizer"])
    assert spies.told(tmp_path, "begin") == [[r.number, dict(r.params)] for r in result.records]
    assert spies.told(tmp_path, "end") == [[r.number, r.state.name, r.cause] for r in result.records]
    for record in result.records:
        rows = [row[1:] for row in spies.told(tmp_path, "measure") if row[0] == record.number]
        reported = [[m.step, dict(m.metrics)] for m in StudyDir(tmp_path).trial(record.number).read_metrics()]
        assert rows[: len(reported)] == reported
        measured_from_outside = [name for _, metrics in rows[len(reported) :] for name in metrics]
        assert measured_from_outside == ["training_time"]
    assert spies.told(tmp_path)[-1] == ["close"]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("raise", "failed: ConnectionError: the server is gone"),
        ("exit", "failed: "),
        ("die", "failed: it was killed by signal 9"),
        pytest.param("hang", "did not come to an end within 4 s", marks=pytest.mark.slow),
    ],
)
def test_a_tracker_that_fails_fails_no_trial_and_is_brought_up_to_date_later(
    how, why, tmp_path, caplog, little_patience
):
    alone = spies.study(tmp_path / "alone")
    with caplog.at_level(logging.WARNING, "rltune.trackers"):
        watched = spies.study(tmp_path / "watched", {"name": SPY, "how": how}, name=alone.config.name)
    assert spies.trials(watched) == spies.trials(alone)
    *before, warning = caplog.messages
    assert before == ([f"waiting up to 1 s for the tracker `{SPY}` to come to its end"] if how == "hang" else [])
    assert f"the tracker `{SPY}` {why}" in warning
    assert "rltune run" in warning
    assert spies.told(tmp_path / "watched", "end") == [[0, *spies.told(tmp_path / "watched", "end")[0][1:]]]

    (tmp_path / "watched" / "mended").touch()
    caplog.clear()
    again = spies.study(tmp_path / "watched", {"name": SPY, "how": how}, name=alone.config.name, n_trials=6)
    assert caplog.messages == []
    assert [number for number, *_ in spies.told(tmp_path / "watched", "end")] == [r.number for r in again.records]
    measured = [(number, step, tuple(metrics)) for number, step, metrics in spies.told(tmp_path / "watched", "measure")]
    assert len(measured) == len(set(measured)), "a measurement was told twice"
    assert len({known_as for known_as, *_ in spies.told(tmp_path / "watched", "open")}) == 1


@pytest.mark.slow
def test_a_slow_tracker_does_not_slow_the_trials(tmp_path, little_patience):
    begun = time.monotonic()
    result = spies.study(tmp_path, {"name": SPY, "how": "hang", "at": 0}, n_trials=20)
    ended = max(r.finished for r in result.records)
    assert (ended - min(r.started for r in result.records)).total_seconds() < 2
    assert time.monotonic() - begun < 10


@pytest.mark.slow
def test_a_study_that_is_told_to_stop_waits_less(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "HURRIED_SECONDS", 1.0)
    given = {"search_space": spies.SPACE, "evaluation": {"metric": "loss", "direction": "minimize"}, "n_trials": 9}
    trackers = [{"name": SPY, "how": "hang", "at": 0}]
    config = cfg.from_mapping(given | {"executor": "inline", "trackers": trackers}, trainer=spies.train)
    ended, begun = [], time.monotonic()
    result = session.run(config, out=tmp_path, on_change=ended.append, should_stop=lambda: len(ended) > 6)
    assert result.stopped
    assert time.monotonic() - begun < processes.CLOSING_SECONDS / 2


def test_a_tracker_that_is_added_later_gets_what_has_been(tmp_path):
    spies.study(tmp_path)
    assert not (tmp_path / "trackers").exists()
    spies.study(tmp_path, SPY)
    assert [number for number, *_ in spies.told(tmp_path, "end")] == [0, 1, 2, 3, 4]


def test_one_that_knows_everything_is_not_even_made(tmp_path):
    spies.study(tmp_path, SPY)
    before = spies.told(tmp_path)
    spies.study(tmp_path, SPY)
    assert spies.told(tmp_path) == before


def test_one_that_cannot_be_made_is_told_at_once(tmp_path, caplog):
    spies.study(tmp_path, "trackers.test_trackers:Unmakeable")
    assert ["RuntimeError: no license" in message for message in caplog.messages] == [True]
    assert "no license" in (tmp_path / "trackers" / "trackers.test_trackers-Unmakeable.log").read_text()


class Unmakeable:
    def __init__(self, study):
        raise RuntimeError("no license\n  read on at https://example.com/licenses")


@pytest.mark.slow
def test_trials_that_are_cut_short_are_told_of_and_the_same_study_goes_on(tmp_path):
    (tmp_path / "job.py").write_text(
        "import time\n\n\ndef train(config, trial):\n    for step in range(1, 200):\n"
        "        trial.report(step, loss=config['lr'])\n        time.sleep(0.02 if trial.number else 0)\n"
    )
    (tmp_path / "study.yaml").write_text(
        f"trainer: {{function: 'job:train'}}\nn_trials: 2\ntrackers: ['{SPY}']\n"
        "search_space: {lr: {type: float, min: 0.1, max: 1.0}}\n"
        "evaluation: {metric: loss, direction: minimize}\nexecutor: local\nout: .\nname: s\n"
    )
    words = [sys.executable, "-m", "rltune", "run", "study.yaml"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: any(number == 1 for number, *_ in spies.told(tmp_path / "s", "measure")))
        family = psutil.Process(first.pid).children(recursive=True)
        tracker = next(child for child in family if "rltune.trackers" in child.cmdline())
    finally:
        first.kill()
        first.wait()
    wait_for(lambda: not tracker.is_running() or tracker.status() == psutil.STATUS_ZOMBIE)

    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ends = spies.told(tmp_path / "s", "end")
    assert ends == [[0, "COMPLETE", None], [1, "FAIL", "lost"], [2, "COMPLETE", None]]
    measured = [(number, step, tuple(metrics)) for number, step, metrics in spies.told(tmp_path / "s", "measure")]
    assert len(measured) == len(set(measured))
    assert len({known_as for known_as, *_ in spies.told(tmp_path / "s", "open")}) == 1


def wait_for(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- the study file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trackers", "said"),
    [
        (["tensorbord"], "trackers.0: there is no tracker `tensorbord` (did you mean `tensorboard`?"),
        ([{"wandb": {"mode": "ofline"}}], "trackers.0.mode: must be online or offline or null, got the text 'ofline'"),
        ([{"mlflow": {"experimnt": "x"}}], "trackers.0.experimnt: unknown option (did you mean `experiment`?"),
        ([{"name": "tensorboard", "logdir": 3}], "trackers.0.logdir: must be text or null, got 3"),
        (["tensorboard", {"tensorboard": None}], "trackers.1: `tensorboard` is there twice (keep one of them)"),
        (["nowhere_at_all:Tracker"], "trackers.0.name: the tracker `nowhere_at_all:Tracker` cannot be loaded"),
        ("tensorboard", "trackers: must be a list, got the text 'tensorboard' (write [\"tensorboard\"])"),
        ([3], "trackers.0: must be a name, or a mapping with a name and options, got 3"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(trackers, said, tmp_path):
    with pytest.raises(StudyFileError) as error:
        rltune.tune(spies.train, spies.SPACE, metric="loss", trackers=trackers, out=tmp_path / "s", executor="inline")
    assert said in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudyFileError, match=r"pip install 'rltune\[wandb\]'"):
        spies.study(tmp_path / "s", {"wandb": {"mode": "offline"}})
    assert not (tmp_path / "s").exists()


def test_options_reach_the_tracker_and_the_kept_study(tmp_path):
    result = spies.study(tmp_path, {"name": SPY, "at": 3})
    assert rltune.load(tmp_path).config.trackers == result.config.trackers
    assert json.loads(json.dumps(result.config.to_mapping()))["trackers"] == [{"name": SPY, "at": 3}]


def test_check_names_them_and_starts_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(
        "trainer: {command: ['true', '{lr}']}\nsearch_space: {lr: {type: float, min: 0.1, max: 1.0}}\n"
        f"evaluation: {{metric: loss, direction: minimize}}\ntrackers: [{{name: '{SPY}', at: 3}}]\n"
    )
    done = CliRunner().invoke(app, ["check", "study.yaml"])
    assert done.exit_code == 0, done.output
    assert re.search(rf"^trackers +{SPY} \(at: 3\)$", done.output, re.MULTILINE)
    assert not (tmp_path / "runs").exists()
