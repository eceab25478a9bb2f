"""A tracker that writes down what it is told, and does what trackers do to people; and studies to watch."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

import rltune
from rltune.records import TrialRecord
from rltune.trackers import processes

SPACE = {
    "lr": {"type": "float", "min": 0.01, "max": 1.0, "log": True},
    "optimizer": {"type": "categorical", "choices": ["adamw", "muon"]},
}


@pytest.fixture(autouse=True, scope="module")
def much_patience():
    """For real clients on a busy machine; a module has it by importing it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "CLOSING_SECONDS", 120.0)
        yield


class Spy:
    """Misbehaves at the end of the trial `at`, once: the file `mended` in the study's folder mends it."""

    def __init__(self, study, how: str = "", at: int = 1):
        self.study, self.at = study, at
        self.how = "" if (study.folder / "mended").exists() else how
        self.tell("open", study.id, study.name, list(study.parameters))

    def tell(self, *what):
        with (self.study.folder / "told.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")

    def begin(self, trial: TrialRecord):
        self.tell("begin", trial.number, dict(trial.params))

    def measure(self, trial, measurements):
        for each in measurements:
            self.tell("measure", trial.number, each.step, dict(each.metrics))

    def end(self, trial):
        if trial.number == self.at:
            self.misbehave()
        self.tell("end", trial.number, trial.state.name, trial.cause)

    def misbehave(self):
        if self.how == "raise":
            raise ConnectionError("the server is gone")
        if self.how == "hang":
            time.sleep(600)
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            os._exit(7)

    def close(self):
        self.tell("close")


def train(config, trial):
    if config["lr"] > 0.7:
        raise RuntimeError("too large")
    for step in (1, 2, 3):
        trial.report(step, loss=config["lr"] / step, entropy=1.0 / step)


def study(folder, *trackers, n_trials=5, **given):
    """One trial after another, so that two studies of one seed have the same trials."""
    return rltune.tune(
        train, SPACE, metric="loss", n_trials=n_trials, executor="inline", trackers=list(trackers), out=folder, **given
    )


def told(folder, kind=None):
    file = Path(folder) / "told.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [row[1:] for row in rows if row[0] == kind] if kind else rows


def trials(result):
    return [(r.number, r.state, r.params, r.values, r.cause, r.curve) for r in result.records]
