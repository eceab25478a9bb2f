"""The contract of a trainer, as tests: inherit `TrainerSuite` and say how to run a job.

::

    class TestMine(TrainerSuite):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda job: MyTrainer(...)  # a trainer that runs `job(config, report)`

The jobs are functions of this module, so that a trainer that starts programs can let one import and run them.
"""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import psutil
import pytest

from rltune.types import Cause, Measurement, Outcome, Suggestion, Trainer, TrialStopped
from rltune.worker import attempt

TYPED: Mapping[str, Any] = {
    "learning_rate": 1e-5,
    "large": 1e22,
    "whole": 2.0,
    "batch_size": 16,
    "muon": True,
    "scheduler": None,
    "name": "adamw",
    "looks_like_float": "1e-5",
    "looks_like_int": "010",
    "looks_like_bool": "on",
    "text": "a b: 'c' # d",
    "optimizer.kwargs.lr": 3e-4,
}
"""Parameters whose types must reach the job as they are; the dotted one as nested mappings."""


class JobReport(Protocol):
    """What a job reports with."""

    def __call__(self, step: int, /, **metrics: float) -> None: ...


Job: TypeAlias = Callable[[Mapping[str, Any], JobReport], None]
"""One of the jobs below: gets the nested configuration and a way to report."""


def reports_steps(_config: Mapping[str, Any], report: JobReport) -> None:
    """Reports three steps; NaN and infinity among the numbers."""
    report(1, score=0.25, loss=2)
    report(2, score=math.nan, loss=math.inf)
    report(5, score=0.5, loss=-math.inf)


def reports_types(config: Mapping[str, Any], report: JobReport) -> None:
    """Reports 1 for every parameter of `TYPED` that arrived with its value and type, else 0."""
    matches = {}
    for name, expected in TYPED.items():
        value: Any = config
        for part in name.split("."):
            value = value.get(part, KeyError) if isinstance(value, Mapping) else KeyError
        matches[name] = float(type(value) is type(expected) and value == expected)
    report(1, **matches)


def runs_for_ever(_config: Mapping[str, Any], report: JobReport) -> None:
    """Starts a process, reports its id, and goes on reporting."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        for step in range(1, 6001):
            report(step, child=child.pid)
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()


def fails(_config: Mapping[str, Any], report: JobReport) -> None:
    """Reports one step, then raises."""
    report(1, score=0.5)
    raise ValueError("no way on from here")


def runs_out_of_memory(_config: Mapping[str, Any], report: JobReport) -> None:
    """Ends as Python does when memory is refused."""
    report(1, score=0.5)
    raise MemoryError


def says_nothing(_config: Mapping[str, Any], _report: JobReport) -> None:
    """Ends well without a word."""


class TrainerSuite:
    """Inherit, and override `make`."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[Job], Trainer]:
        """Makes the trainer under test run one of the jobs of this module."""
        raise NotImplementedError

    @pytest.fixture
    def suggestion(self, tmp_path: Path) -> Suggestion:
        """Override where the trainer needs other parameters than `TYPED`."""
        directory = tmp_path / "trial 0003"
        directory.mkdir()
        return Suggestion(3, TYPED, seed=11, directory=directory)

    def test_measurements_arrive_in_order_with_steps_and_floats(
        self, make: Callable[[Job], Trainer], suggestion: Suggestion
    ) -> None:
        outcome, measured = run(make(reports_steps), suggestion)
        assert (outcome.cause, outcome.stopped) == (None, False), outcome.message
        assert [m.step for m in measured] == [1, 2, 5]
        assert all(type(value) is float for m in measured for value in m.metrics.values())
        assert measured[0].metrics == {"score": 0.25, "loss": 2.0}
        assert math.isnan(measured[1].metrics["score"])
        assert (measured[1].metrics["loss"], measured[2].metrics["loss"]) == (math.inf, -math.inf)
        assert 0 < measured[0].seconds <= measured[2].seconds

    def test_parameters_arrive_with_their_types(self, make: Callable[[Job], Trainer], suggestion: Suggestion) -> None:
        outcome, measured = run(make(reports_types), suggestion)
        assert outcome.cause is None, outcome.message
        assert [name for name, same in measured[0].metrics.items() if not same] == []

    def test_being_stopped_ends_it_promptly_and_leaves_no_process(
        self, make: Callable[[Job], Trainer], suggestion: Suggestion
    ) -> None:
        children = []

        def stop(measurement: Measurement) -> None:
            children.append(int(measurement.metrics["child"]))
            if measurement.step >= 3:
                raise TrialStopped

        begin = time.monotonic()
        outcome = attempt(make(runs_for_ever), suggestion, stop)
        assert outcome == Outcome(stopped=True)
        assert time.monotonic() - begin < 30
        assert not psutil.pid_exists(children[0]) or psutil.Process(children[0]).status() == psutil.STATUS_ZOMBIE
        assert len(children) == 3, "it went on reporting after it was stopped"

    def test_a_failure_is_an_error_with_its_reason(
        self, make: Callable[[Job], Trainer], suggestion: Suggestion
    ) -> None:
        outcome, measured = run(make(fails), suggestion)
        assert outcome.cause is Cause.ERROR
        assert "no way on from here" in outcome.message
        assert [m.metrics["score"] for m in measured] == [0.5]

    def test_memory_that_ran_out_is_told_from_other_failures(
        self, make: Callable[[Job], Trainer], suggestion: Suggestion
    ) -> None:
        outcome, _ = run(make(runs_out_of_memory), suggestion)
        assert outcome.cause is Cause.OUT_OF_MEMORY

    def test_a_run_without_measurements_is_no_failure(
        self, make: Callable[[Job], Trainer], suggestion: Suggestion
    ) -> None:
        outcome, measured = run(make(says_nothing), suggestion)
        assert (outcome.cause, dict(outcome.metrics), measured) == (None, {}, [])

    def test_it_survives_pickling(self, make: Callable[[Job], Trainer], suggestion: Suggestion) -> None:
        outcome, measured = run(pickle.loads(pickle.dumps(make(reports_steps))), suggestion)  # noqa: S301  # our own
        assert (outcome.cause, len(measured)) == (None, 3)


def run(trainer: Trainer, suggestion: Suggestion) -> tuple[Outcome, list[Measurement]]:
    """Run a trial to its end; what it measured comes second."""
    measured: list[Measurement] = []
    return attempt(trainer, suggestion, measured.append), measured
