"""Trials that go wrong in every way there is, as a function and as a command, in one study: only they suffer."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from fault_harness import Case, Ended, assert_sound
from optuna.trial import TrialState

from rltune.records import TrialRecord
from rltune.types import Cause

KINDS = ["function", "command"]

FAULTS: dict[int | str, str] = {
    1: "raises",
    2: "crashes",
    3: "is_killed",
    5: "eats_memory",
    6: "leaves_children",
    7: "leaves_children_and_hangs",
    8: "ignores_term",
    9: "prints_much",
    10: "closes_stdout",
    11: "exits_silently",
    12: "exits_well_too_soon",
    13: "bad_metric_nan",
    14: "bad_metric_inf",
    15: "bad_metric_text",
    16: "bad_metric_missing",
    17: "bad_metric_none",
    18: "is_killed_by_a_signal_without_a_name",
}
N_TRIALS = 20

EXPECTED: dict[str, tuple[Cause, str]] = {
    "raises": (Cause.ERROR, "RuntimeError: the trainer broke"),
    "crashes": (Cause.ERROR, "SIGSEGV"),
    "is_killed": (Cause.LOST, "SIGKILL"),
    "eats_memory": (Cause.OUT_OF_MEMORY, "a trial may hold 0.30 GB"),
    "leaves_children_and_hangs": (Cause.TIMEOUT, "ran longer than 1.8 s"),
    "ignores_term": (Cause.TIMEOUT, "ran longer than 1.8 s"),
    "bad_metric_nan": (Cause.DIVERGED, "`loss` is nan at step 2"),
    "bad_metric_inf": (Cause.DIVERGED, "`loss` is -inf at step 1"),
    "bad_metric_missing": (Cause.NO_VALUE, "without a value for `loss`; it reported `reward`, `length`"),
    "bad_metric_none": (Cause.NO_VALUE, "without a value for `loss`; it reported nothing"),
}
"""The cause, and words that the message holds; the same for both kinds."""

OF_ITS_KIND: dict[tuple[str, str], tuple[Cause, str]] = {
    ("function", "exits_silently"): (Cause.LOST, "ended with status 3 before its trainer had returned"),
    ("command", "exits_silently"): (Cause.ERROR, "exit status 3"),
    ("function", "exits_well_too_soon"): (Cause.LOST, "ended with status 0 before its trainer had returned"),
    ("command", "exits_well_too_soon"): (Cause.NO_VALUE, "without a value for `loss`"),
    ("function", "is_killed_by_a_signal_without_a_name"): (Cause.LOST, f"(signal {signal.SIGRTMIN + 3})"),
    ("command", "is_killed_by_a_signal_without_a_name"): (Cause.ERROR, f"exit status -{signal.SIGRTMIN + 3}"),
    ("function", "bad_metric_text"): (Cause.ERROR, "metric `loss` must be a number, got a str 'high'"),
    ("command", "bad_metric_text"): (Cause.NO_VALUE, "without a value for `loss`"),
}

UNHARMED = {"leaves_children", "prints_much", "closes_stdout"}


class GoneWrong(Case):
    """The study, after its end."""

    kind: str
    ended: Ended

    def record(self, fault: str) -> TrialRecord:
        number = next(n for n, each in FAULTS.items() if each == fault)
        return next(r for r in self.records() if r.number == number)


@pytest.fixture(scope="module", params=KINDS)
def gone_wrong(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoneWrong]:
    case = GoneWrong(tmp_path_factory.mktemp(request.param))
    case.kind = request.param
    case.write(
        kind=case.kind,
        n_trials=N_TRIALS,
        workers=2,
        faults=FAULTS,
        steps=2,
        max_failures_in_a_row=100,
        executor={"memory_limit": "300MB", "timeout_minutes": 0.03, "grace_seconds": 0.3},
    )
    case.ended = case.run()
    yield case
    case.close()


@pytest.mark.slow
def test_the_study_goes_on_and_nobody_is_left(gone_wrong: GoneWrong) -> None:
    gone_wrong.assert_nothing_lives(0)
    assert gone_wrong.ended.code == 0, gone_wrong.ended.output
    assert_sound(gone_wrong)
    records = gone_wrong.records()
    assert len(records) == N_TRIALS
    assert all(r.state is TrialState.COMPLETE for r in records if r.number not in FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values())
def test_a_trial_that_goes_wrong_says_why(gone_wrong: GoneWrong, fault: str) -> None:
    record = gone_wrong.record(fault)
    if fault in UNHARMED:
        assert record.state is TrialState.COMPLETE, record.message
        return
    cause, words = EXPECTED.get(fault) or OF_ITS_KIND[gone_wrong.kind, fault]
    assert record.state is TrialState.FAIL
    assert record.cause is cause
    assert words in record.message
    line = next(row for row in gone_wrong.ended.output.splitlines() if row.startswith(f"trial {record.number} "))
    assert "failed" in line


@pytest.mark.slow
def test_what_was_printed_is_in_the_log(gone_wrong: GoneWrong) -> None:
    much = gone_wrong.folder.trial(gone_wrong.record("prints_much").number).log
    assert much.stat().st_size >= 100_000_000
    much.unlink()
    assert "loading the model" in gone_wrong.folder.trial(1).log.read_text()


def test_a_crash_ends_its_message_with_the_last_lines_of_the_log(case: Case) -> None:
    case.write(n_trials=2, faults={0: "says_a_word_and_crashes"})
    assert case.run().code == 0
    assert case.records()[0].message == "the trial's process crashed (SIGSEGV)\nNCCL says no"


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_in_which_all_fail_ends_after_five(case: Case, kind: str) -> None:
    case.write(kind=kind, n_trials=50, workers=2, faults={"all": "raises"})
    ended = case.run()
    assert ended.code == 3
    assert re.search("all of the first [56] trials failed", ended.output)  # one may have run beside the fifth
    assert ended.output.count("RuntimeError: the trainer broke") >= 1
    last_line_of_a_log = {"function": "loading the model", "command": 'raise RuntimeError("the trainer broke")'}
    assert last_line_of_a_log[kind] in ended.output
    records = case.records()
    assert 5 <= len(records) <= 6
    assert {r.cause for r in records} == {Cause.ERROR}
    case.assert_nothing_lives(0)


def test_a_trial_that_was_ended_just_after_its_result_keeps_it(case: Case) -> None:
    """Killed from outside between writing its result and telling it."""
    case.write(n_trials=2, faults={0: "is_killed_once_it_has_written_its_outcome"}, seconds=0.0)
    assert case.run().code == 0
    assert [r.state for r in case.records()] == [TrialState.COMPLETE] * 2


def test_a_trial_that_closes_every_file_does_not_spin_the_tuner(case: Case) -> None:
    case.write(n_trials=2, faults={0: "closes_everything"})
    session = case.start()
    case.wait_for_trials(2)
    assert session.end().code == 0
    first = case.records()[0]
    assert first.state is TrialState.COMPLETE, first.message
