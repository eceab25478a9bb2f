"""What the local executor does about trials that can pause, once the study is stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from rltune.executors.local import LocalExecutor
from rltune.folder import TrialDir
from rltune.testing.executor_suite import ScriptedBrain
from rltune.types import Cause, Measurement, Report, Resources, Suggestion
from rltune.worker import TrialFailed


@dataclass(frozen=True)
class Pauses:
    """A trainer that reports a step, and another one when it is asked to pause.

    Attributes:
        then: What it does when it is asked: saves and ends, ends as if it had been at its last step anyway, or goes on.
        offers: Whether it says that it could.
    """

    then: Literal["save", "end", "go on"] = "save"
    offers: bool = True

    def __call__(self, suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
        folder = TrialDir(suggestion.directory)
        if self.offers:
            folder.pausable.touch()
        report(Measurement(1, {"loss": 1.0}))
        while not folder.pause_request.exists() or self.then == "go on":
            time.sleep(0.01)
        report(Measurement(2, {"loss": 0.5}, checkpoint="step_2"))
        if self.then == "save":
            raise TrialFailed(Cause.INTERRUPTED, "paused after step 2")
        return None


def stopped(folder: Path, trainer: Pauses, pause_seconds: float) -> ScriptedBrain:
    """Runs one trial, and stops the study once it has reported."""
    brain = ScriptedBrain(folder, [{}])
    resources = Resources(grace_seconds=5, pause_seconds=pause_seconds)
    LocalExecutor(resources=resources).run(brain, trainer, lambda: bool(brain.seen.get(0)))
    assert not TrialDir(folder / "0000").pause_request.exists()
    return brain


def test_it_is_asked_and_what_it_says_on_the_way_is_heard(tmp_path: Path) -> None:
    brain = stopped(tmp_path, Pauses(), 60)
    assert [(m.step, m.checkpoint) for m in brain.seen[0]] == [(1, None), (2, "step_2")]
    assert (brain.outcomes[0].cause, brain.outcomes[0].message) == (Cause.INTERRUPTED, "paused after step 2")


def test_one_that_ends_meanwhile_is_complete(tmp_path: Path) -> None:
    outcome = stopped(tmp_path, Pauses(then="end"), 60).outcomes[0]
    assert (outcome.cause, outcome.stopped) == (None, False)


@pytest.mark.parametrize(("trainer", "seconds"), [(Pauses(offers=False), 60), (Pauses(), 0)])
def test_any_other_is_ended_at_once(tmp_path: Path, trainer: Pauses, seconds: float) -> None:
    brain = stopped(tmp_path, trainer, seconds)
    assert [m.step for m in brain.seen[0]] == [1]
    assert brain.outcomes[0].cause is Cause.INTERRUPTED
    assert brain.outcomes[0].message == "the study was stopped while the trial ran"


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    outcome = stopped(tmp_path, Pauses(then="go on"), 0.3).outcomes[0]
    assert outcome.cause is Cause.INTERRUPTED
    assert outcome.message.endswith("and it did not save a checkpoint within 0.3 s")


def test_silence_is_no_stall_while_it_pauses(tmp_path: Path) -> None:
    brain = ScriptedBrain(tmp_path, [{}])
    resources = Resources(grace_seconds=5, pause_seconds=1.5, stall_seconds=0.3)
    LocalExecutor(resources=resources).run(brain, Pauses(then="go on"), lambda: bool(brain.seen.get(0)))
    assert brain.outcomes[0].cause is Cause.INTERRUPTED
