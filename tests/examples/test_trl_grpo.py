"""TRL's GRPOTrainer, tuned as a command: the study for real, in a Python of TRL's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import rltune
from rltune.session import Result
from rltune.trainers.command import CommandTrainer
from rltune.types import Cause, Measurement, Suggestion
from rltune.worker import attempt

EXAMPLE = Path(__file__).parents[2] / "examples" / "trl_grpo"

with_trl = [pytest.mark.slow, pytest.mark.trl, pytest.mark.timeout(900)]


def rltune_command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The rltune of the tests, where `python` is whatever it is on PATH."""
    command = [sys.executable, "-m", "rltune", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `python` that the study file names, with a cache of its own for the base model."""
    found = shutil.which("python")
    if found is None:
        pytest.skip("there is no `python` on PATH; `make test-trl` brings one that has TRL")
    words = [found, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('trl') is None)"]
    if subprocess.run(words, check=False).returncode != 0:
        pytest.skip(f"{found} has no TRL; `make test-trl` brings one that has")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield found


@pytest.fixture(scope="module")
def result(python: str, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What the study found: about four minutes."""
    folder = tmp_path_factory.mktemp("trl grpo")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    done = rltune_command("run", "study.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    return rltune.load(folder / "runs" / "trl-grpo")


def train(python: str, *arguments: str, logs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(EXAMPLE / "train.py"), f"--output_dir={logs}", *arguments],
        env={**os.environ, "TENSORBOARD_LOGGING_DIR": str(logs)},
        capture_output=True,
        text=True,
        check=False,
    )


def events(folder: Path) -> Iterator[tuple[int, Any]]:
    """The steps and summary values of all event files in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for file in sorted(folder.glob("*tfevents*")):
        for event in LegacyEventFileLoader(str(file)).Load():
            yield from ((event.step, value) for value in event.summary.value)


def logs_of(result: Result, number: int) -> Path:
    return result.folder.trial(number).path / "logs"


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """What a run measured, but for its times."""
    found = ((step, v.tag, v.simple_value) for step, v in events(folder) if v.WhichOneof("value") == "simple_value")
    timed = ("time", "per_second")
    return [(step, tag, number) for step, tag, number in found if not any(word in tag for word in timed)]


def test_the_study_file_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "python").symlink_to(sys.executable)  # any will do: nothing is started
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    done = rltune_command("check", str(EXAMPLE / "study.yaml"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 baseline + 8 search + 4 final + 4 claim = 18 trials" in done.stdout


def test_training_knows_nothing_of_rltune() -> None:
    assert "rltune" not in (EXAMPLE / "train.py").read_text().lower()


class TestStudy:
    pytestmark = with_trl

    def test_it_finds_better_than_the_defaults_of_trl(self, result: Result) -> None:
        assert 12 <= len(result.records) <= 18, "the finals end once they are decided"
        assert result.verdict is not None
        assert result.verdict.ship
        assert result.best is not None
        assert result.best.params["learning_rate"] > 1e-5

    def test_trl_ran_with_the_very_parameters_of_each_trial(self, result: Result) -> None:
        for record in result.records:
            (text,) = (v for _, v in events(logs_of(result, record.number)) if v.tag == "args/text_summary")
            given = json.loads(text.tensor.string_val[0])
            assert {name: given[name] for name in record.params} == record.params
            assert given["seed"] == record.seed
            assert given["max_steps"] == 100

    def test_every_batch_holds_whole_groups(self, result: Result) -> None:
        shapes = [(r.params["per_device_train_batch_size"], r.params["num_generations"]) for r in result.records]
        assert all(batch % group == 0 for batch, group in shapes)

    def test_metrics_are_those_of_trl_and_of_its_evaluation(self, result: Result) -> None:
        complete = [record for record in result.records if record.state is TrialState.COMPLETE]
        assert len(complete) >= 6
        for record in complete:
            rows = result.folder.trial(record.number).read_metrics()
            assert [row.step for row in rows] == list(range(0, 101, 5))
            assert [row.step for row in rows if "eval/accuracy" in row.metrics] == list(range(0, 101, 10))
            assert all({"train/reward", "train/loss", "train/grad_norm"} <= row.metrics.keys() for row in rows[1:])
            assert ("train/kl" in rows[-1].metrics) == (record.params["beta"] > 0)


class TestTraining:
    pytestmark = with_trl

    def test_a_seed_gives_the_same_run(self, python: str, tmp_path: Path) -> None:
        short = ("--learning_rate=1e-3", "--beta=0.04", "--max_steps=5", "--eval_steps=5", "--logging_steps=1")
        for name, seed in (("first", 1), ("again", 1), ("other", 2)):
            done = train(python, *short, f"--seed={seed}", logs=tmp_path / name)
            assert done.returncode == 0, done.stderr
        first = scalars(tmp_path / "first")
        assert {step for step, *_ in first} == set(range(6))
        assert scalars(tmp_path / "again") == first != scalars(tmp_path / "other")

    def test_a_batch_without_whole_groups_is_refused(self, python: str, tmp_path: Path) -> None:
        done = train(python, "--per_device_train_batch_size=128", "--num_generations=12", logs=tmp_path)
        assert done.returncode == 1
        assert "generation_batch_size (128) must be divisible by num_generations (12)" in done.stderr

    def test_a_policy_that_goes_to_infinity_has_diverged(self, python: str, tmp_path: Path) -> None:
        seen: list[Measurement] = []
        command = CommandTrainer([python, str(EXAMPLE / "train.py"), "--learning_rate={learning_rate}"], cwd=tmp_path)
        outcome = attempt(command, Suggestion(0, {"learning_rate": 1e30}, 1, tmp_path), seen.append)
        assert outcome.cause is Cause.DIVERGED
        assert outcome.message.startswith("diverged (exit status 1): RuntimeError: probability tensor contains")
