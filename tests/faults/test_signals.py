"""Signals: stopped in order, resumable to the full number of trials; nobody is left, however it is ended."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil
import pytest
from fault_harness import Case, Session, assert_sound, wait_for
from optuna.trial import TrialState

from rltune.types import Cause

KINDS = ["function", "command"]


def measured(case: Case, n: int = 1) -> None:
    """Waits until so many trials have measured something."""
    trials = case.folder.path / "trials"
    wait_for(lambda: len(list(trials.glob("*/metrics.jsonl"))) >= n, what=f"{n} trials measured")


def to_the_end(case: Case, n_trials: int) -> None:
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    assert len(case.complete()) == n_trials


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_interrupts_what_runs_and_the_study_goes_on(case: Case, number: signal.Signals) -> None:
    case.write(n_trials=4, workers=2, seconds=0.1)
    session = case.start()
    measured(case, 2)
    session.send(number)
    ended = session.end()
    assert ended.code == (130 if number == signal.SIGINT else 75)
    assert "run again" in ended.output
    case.assert_nothing_lives(0)
    records = case.records()
    assert [r.state for r in records] == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2
    assert [r.cause for r in records[:2]] == [Cause.INTERRUPTED] * 2
    to_the_end(case, 4)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_so_does_one_that_comes_before_the_first_trial(case: Case, number: signal.Signals) -> None:
    """While the fork server starts, and a command line that starts cold."""
    case.write(n_trials=2)
    session = case.start(cold=True)
    wait_for(case.folder.study_file.exists, what="the study folder")
    session.send(number)
    assert session.end().code == (130 if number == signal.SIGINT else 75)
    case.assert_nothing_lives(0)
    to_the_end(case, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_signals_every_process_at_once(case: Case, kind: str, number: signal.Signals) -> None:
    """As Slurm and systemd do. The trials hear it before the tuner does; they are interrupted all the same."""
    case.write(kind=kind, n_trials=3, workers=2, seconds=0.1)
    session = case.start()
    measured(case, 2)
    for process in case.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    if number == signal.SIGTERM:
        time.sleep(0.1)
    session.send(number)
    ended = session.end()
    assert ended.code == 75, ended.output
    case.assert_nothing_lives(0)
    causes = {r.cause for r in case.records() if r.state is TrialState.FAIL}
    assert causes <= {Cause.INTERRUPTED}
    to_the_end(case, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_that_ignores_term_is_killed_after_the_grace_period(case: Case, kind: str) -> None:
    case.write(kind=kind, n_trials=2, faults={0: "ignores_term"}, executor={"grace_seconds": 0.5})
    session = case.start()
    measured(case)
    begin = time.monotonic()
    session.send(signal.SIGTERM)
    assert session.end().code == 75
    assert time.monotonic() - begin < 3
    case.assert_nothing_lives(0)
    to_the_end(case, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_ctrl_c_ends_at_once(case: Case, kind: str) -> None:
    """Although the trial ignores TERM, has 10 s of grace, and has children that left its group."""
    faults: dict[int | str, str] = {0: "ignores_term", 1: "leaves_children_and_ignores_term"}
    case.write(kind=kind, n_trials=3, workers=2, faults=faults, executor={"grace_seconds": 10})
    session = case.start()
    measured(case, 2)
    session.send(signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again" in session.output, what="an answer")
    time.sleep(0.3)
    assert session.runs
    begin = time.monotonic()
    session.send(signal.SIGINT)
    assert session.end().code == 130
    assert time.monotonic() - begin < 1
    case.assert_nothing_lives(1)
    to_the_end(case, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_takes_children_along_that_have_left_their_group(case: Case, kind: str) -> None:
    case.write(kind=kind, n_trials=2, workers=2, faults={0: "leaves_children_and_hangs"})
    session = case.start()
    measured(case)
    assert len(case.processes()) >= 5
    session.kill()
    case.assert_nothing_lives(2)
    to_the_end(case, 2)


def test_the_stop_file_stops_like_a_signal(case: Case) -> None:
    """What `rltune stop` leaves in the folder."""
    case.write(n_trials=3, workers=2, seconds=0.1)
    session: Session = case.start()
    measured(case, 2)
    case.folder.stop_request.touch()
    assert session.end().code == 75
    assert not case.folder.stop_request.exists()
    to_the_end(case, 3)
