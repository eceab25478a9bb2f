"""A tiny trainer and its study file, and two ways to call the command line: in this process, and as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TRAIN = """
import os, time

def train(config, trial):
    print("trial", trial.number, "begins")
    x = config["lr"]
    for step in range(1, 4):
        trial.report(step, {"score": 1 - (x - 0.3) ** 2 - 0.5 / step, "other": float(step)})
        time.sleep(config.get("wait", 0))
    if x > 0.9:
        raise ValueError("lr is too high")

def slow(config, trial):
    for step in range(1, 10_000):
        trial.report(step, {"score": float(step)})
        time.sleep(0.02)

def deaf(config, trial):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trial.report(1, {"score": 1.0})
    while True:
        time.sleep(0.02)

def broken(config):
    print("loading the model")
    raise RuntimeError("no such [device]")

def once(config, trial):
    if not os.path.exists(os.environ["RLTUNE_TEST_MENDED"]):
        raise RuntimeError("not yet")
    return {"score": config["lr"]}
"""

STUDY = """\
name: small
n_trials: 5
trainer: {function: "job:train"}
search_space:
  lr: {type: float, min: 0.01, max: 0.8, log: true}
  batch: {type: categorical, choices: [8, 16, 32]}
evaluation: {metric: score, direction: maximize}
executor: inline
algorithm: random
"""


class Ended(NamedTuple):
    """How a call of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


Rltune = Callable[..., Ended]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: `study.yaml` and `job.py`, of which other tests have seen no copy."""
    (tmp_path / "job.py").write_text(TRAIN)
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rltune(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Rltune]:
    """Calls the command line in this process."""
    from rltune.cli.main import main

    before = signal.getsignal(signal.SIGPIPE)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["rltune", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    hook = sys.excepthook
    yield call
    sys.excepthook = hook
    signal.signal(signal.SIGPIPE, before)


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `python -m rltune` in a session of its own; whatever is left of it dies with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "rltune", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **(pipes | options)))
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.kill()
        each.communicate()
