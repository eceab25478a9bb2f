"""The process that starts the trials is killed: they are lost through no doing of theirs, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from fault_harness import Case, assert_sound, wait_for
from optuna.trial import TrialState

from rltune.types import Cause


@pytest.mark.parametrize("kind", ["function", "command"])
def test_killed_while_trials_run(case: Case, kind: str) -> None:
    case.write(kind=kind, n_trials=4, workers=2, seconds=0.15)
    session = case.start()
    case.wait_for_trials(2)
    case.server().kill()
    ended = session.end()
    assert ended.code == 0, ended.output
    case.assert_nothing_lives(0)
    assert_sound(case)
    assert len(case.complete()) == 4
    lost = [r for r in case.records() if r.cause is Cause.LOST]
    assert len(lost) == 2
    assert lost[0].message.startswith("the process that starts the trials was killed (SIGKILL)")
    assert "workers.log" in lost[0].message


@pytest.mark.parametrize("kind", ["function", "command"])
def test_what_its_trials_have_started_dies_with_it(case: Case, kind: str) -> None:
    """Also what has left the trial's group, and what has lost its parent."""
    case.write(kind=kind, n_trials=2, faults={0: "leaves_children_and_hangs"})
    session = case.start()
    wait_for(case.folder.trial(0).metrics.exists, what="a measurement")
    orphans = {p.pid for p in case.processes()}
    case.server().kill()
    assert session.end().code == 0
    case.assert_nothing_lives(0)
    assert len(orphans) >= 5
    assert [r.state for r in case.records()] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_many_lost_at_once_are_no_reason_to_end_the_study(case: Case) -> None:
    """Five failures at the beginning end a study; these are none."""
    case.write(n_trials=6, workers=6, seconds=0.1)
    session = case.start()
    case.wait_for_trials(6)
    case.server().kill()
    assert session.end().code == 0
    assert len(case.complete()) == 6


def test_killed_while_the_study_stops(case: Case) -> None:
    case.write(n_trials=3, workers=2, faults={"all": "ignores_term"}, mended=case.root / "mended")
    session = case.start()
    case.wait_for_trials(2)
    session.send(signal.SIGTERM)
    wait_for(lambda: "stopping" in session.output, what="an answer")
    os.kill(case.server().pid, signal.SIGKILL)
    assert session.end().code == 75
    case.assert_nothing_lives(0)
    (case.root / "mended").touch()
    assert case.run().code == 0
    assert len(case.complete()) == 3
    assert_sound(case)


@pytest.mark.slow
def test_killed_again_and_again_the_study_gives_up_and_can_go_on(case: Case) -> None:
    case.write(n_trials=3, faults={"all": "hangs"}, mended=case.root / "mended")
    session = case.start()
    for n in range(1, 4):
        wait_for(lambda n=n: len(case.notes()) == n, what="a trial started")
        case.server().kill()
    ended = session.end()
    assert ended.code == 2
    assert "the process that starts the trials was killed (SIGKILL)" in ended.output
    assert "3 times" in ended.output
    case.assert_nothing_lives(0)
    (case.root / "mended").touch()
    assert case.run().code == 0
    assert_sound(case)
    records = case.records()
    assert [r.cause for r in records[:3]] == [Cause.LOST] * 3
    assert [r.retry_of for r in records[:4]] == [None, 0, 1, None], "lost three times, it may be to blame"
    assert [r.state for r in records[3:]] == [TrialState.COMPLETE] * 2


def test_a_trials_process_does_not_load_optuna() -> None:
    """It would cost every trial a quarter of a second, and its environment may not have it."""
    code = "import sys, rltune.executors.zygote; sys.exit('optuna' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
