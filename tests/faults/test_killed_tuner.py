"""`kill -9` of the tuner, again and again: nothing finished is lost or run twice, and nobody is left alive."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from fault_harness import Case, Session, assert_sound, wait_for
from optuna.trial import TrialState

from rltune.storage import Journal
from rltune.types import Cause

pytestmark = pytest.mark.slow


@pytest.fixture
def side_by_side():
    """Waiting is most of what these tests do, so several of them wait at once."""
    with ThreadPoolExecutor(3) as pool:
        yield pool


# --- at random -------------------------------------------------------------------------------------------------------

N_TRIALS = 20
N_KILLS = 6  # a study; there are three


def test_killed_at_random_instants(tmp_path: Path, side_by_side: ThreadPoolExecutor) -> None:
    cases = [Case(tmp_path / f"{kind}{seed}") for seed, kind in enumerate(["function", "function", "command"])]
    try:
        kills = sum(side_by_side.map(_kill_and_resume, cases, range(len(cases))))
    finally:
        for case in cases:
            case.close()
    assert kills == N_KILLS * len(cases)


def _kill_and_resume(case: Case, seed: int) -> int:
    """Kills a study `N_KILLS` times on its way, then lets it end; how often it was killed."""
    case.write(kind=case.root.name[:-1], n_trials=N_TRIALS, workers=2, steps=3, seconds=0.12)
    delays = [random.Random(seed * 100 + i).uniform(0.05, 1.0) for i in range(N_KILLS)]
    seen_complete: dict[int, int] = {}  # how often a seed had been started when its result was first in the journal
    for delay in delays:
        _kill(case, delay)
        case.assert_nothing_lives()
        starts = [note.seed for note in case.notes()]
        for record in case.complete():
            assert record.seed is not None
            seen_complete.setdefault(record.seed, starts.count(record.seed))
    ended = case.run()
    assert ended.code == 0, ended.output
    case.assert_nothing_lives(0)
    assert_sound(case)
    assert len(case.complete()) == N_TRIALS
    starts = [note.seed for note in case.notes()]
    assert {seed: starts.count(seed) for seed in seen_complete} == seen_complete
    return len(delays)


def _kill(case: Case, delay: float) -> None:
    """One session, killed so long after its first trial has begun."""
    last_try = _lost_twice(case)
    before = len(case.notes())
    session = case.start()

    def ended() -> set[int]:
        return {note.seed for note in case.notes()[before:] if case.folder.trial(note.number).result.exists()}

    wait_for(lambda: len(case.notes()) > before, what="a trial started")
    wait_for(lambda: last_try <= ended(), what="a last try")
    sleep(delay)
    assert session.runs, session.output
    session.kill()


def _lost_twice(case: Case) -> set[int]:
    """Seeds of configurations that go into their last try: lost three times they are given up, and rightly so."""
    if not case.folder.journal.exists():
        return set()
    records = case.records()
    done = {r.seed for r in records if r.state is TrialState.COMPLETE}
    lost = Counter(r.seed for r in records if r.state in (TrialState.FAIL, TrialState.RUNNING))
    return {seed for seed, n in lost.items() if seed is not None and n >= 2} - done


# --- at every write --------------------------------------------------------------------------------------------------


def die_at_write(n: int, *, torn: bool) -> None:
    """From now on this process is killed in place of its n-th write to the journal, or in the middle of it."""
    write, count = Journal.append_logs, itertools.count()

    def append_logs(self: Journal, logs: list[dict[str, Any]]) -> None:
        if next(count) == n:
            if torn:
                with Path(self._file_path).open("ab", buffering=0) as file:
                    file.write(json.dumps(logs[0]).encode()[:-5])
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, logs)

    Journal.append_logs = append_logs  # type: ignore[method-assign]


def _died(case: Case, n: int, *, torn: bool = False) -> bool:
    """One session that is killed at its n-th write; False where it has ended before."""
    session: Session = case.start(first=partial(die_at_write, n, torn=torn))
    ended = session.end()
    assert ended.code in (0, -signal.SIGKILL), ended.output
    case.assert_nothing_lives()
    return ended.code != 0


def _goes_on(case: Case) -> None:
    ended = case.run()
    assert ended.code == 0, ended.output
    assert_sound(case)
    assert len(case.complete()) == 3


def test_killed_at_every_write(tmp_path: Path, side_by_side: ThreadPoolExecutor) -> None:
    def killed_at(n: int, torn: bool) -> bool:
        case = Case(tmp_path / f"{n}{torn}")
        case.write(n_trials=3, steps=1, seconds=0.0)
        try:
            died = _died(case, n, torn=torn)
            _goes_on(case)
        finally:
            case.close()
        return died

    writes = range(24)
    died = list(side_by_side.map(killed_at, writes, [n % 2 == 1 for n in writes]))  # before it, or in its middle
    assert sum(died) >= 18
    assert not died[23], "there are more writes than this test knows of"


def test_killed_at_every_write_of_the_recovery(tmp_path: Path, side_by_side: ThreadPoolExecutor) -> None:
    def killed_at(n: int) -> None:
        case = Case(tmp_path / str(n))
        case.write(n_trials=3, workers=2, steps=1, seconds=0.3)
        try:
            case.start()
            case.wait_for_trials(2)
            case.sessions[0].kill()
            case.assert_nothing_lives()
            assert _died(case, n)
            _goes_on(case)
        finally:
            case.close()
        causes = [r.cause for r in case.records()]
        assert causes.count(Cause.LOST) >= 2

    list(side_by_side.map(killed_at, range(12)))
