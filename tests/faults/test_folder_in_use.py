"""Two runs at once, a study file that has changed, a lock that was left behind, a folder that was moved."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

import pytest
from fault_harness import Case, assert_sound
from optuna.trial import TrialState


def test_a_second_run_is_refused_and_the_first_undisturbed(case: Case) -> None:
    case.write(n_trials=4, workers=2, seconds=0.4)
    first = case.start()
    case.wait_for_trials(2)
    begin = time.monotonic()
    second = case.run()
    assert time.monotonic() - begin < 5
    assert second.code == 2
    assert f"process {first.pid} on {os.uname().nodename} is already running this study" in second.output
    assert "rltune stop" in second.output
    assert first.end().code == 0
    assert_sound(case)
    records = case.records()
    assert [r.state for r in records] == [TrialState.COMPLETE] * 4
    assert all(r.retry_of is None for r in records)


def test_a_reader_that_looks_at_the_lock_does_not_keep_a_run_out(case: Case) -> None:
    """`rltune status --watch` asks several times a second who runs the study."""
    case.write(n_trials=1)
    assert case.run().code == 0
    for n_trials in (2, 3):
        case.write(n_trials=n_trials)
        session = case.start()
        while session.runs:
            case.folder.holder()
        assert session.end().code == 0, session.output


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"seed": 1}, "seed: 0 -> 1"),
    ({"search_space": {"x": {"type": "int", "min": 0, "max": 1}}}, "search_space.x.type: float -> int"),
    ({"evaluation": {"metric": "training_time", "direction": "minimize"}}, "evaluation.metric: loss -> training_time"),
    ({"evaluation": {"metric": "loss", "direction": "maximize"}}, "evaluation.direction: minimize -> maximize"),
    ({"kind": "command"}, "trainer.function: fault_jobs:train -> absent"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES)
def test_a_changed_study_is_refused_with_what_has_changed(case: Case, changes: dict[str, Any], words: str) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    kept = case.folder.study_file.read_text()
    case.write(**({"n_trials": 3} | changes))
    ended = case.run()
    assert ended.code == 2
    assert "the study has changed since this folder was made" in ended.output
    assert words in ended.output
    assert "--force" in ended.output
    assert "--out" in ended.output
    assert len(case.records()) == 2
    assert case.folder.study_file.read_text() == kept


@pytest.mark.parametrize("changes", [{"seed": 1}, {"kind": "command"}])
def test_force_goes_on_all_the_same(case: Case, changes: dict[str, Any]) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    case.write(**({"n_trials": 3} | changes))
    ended = case.run("--force")
    assert ended.code == 0, ended.output
    assert len(case.complete()) == 3
    assert case.run().code == 0, "what was forced once is the study from then on"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search_space": {"x": {"type": "categorical", "choices": [0.25, 0.5]}}}, "x"),
        ({"evaluation": {"metric": "loss", "direction": "maximize"}}, "directions"),
    ],
)
def test_what_optuna_cannot_keep_in_one_study_is_refused_with_force_too(
    case: Case, changes: dict[str, Any], words: str
) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    case.write(**({"n_trials": 3} | changes))
    ended = case.run("--force")
    assert ended.code == 2, ended.output
    assert words in ended.output
    assert len(case.records()) == 2
    case.write(n_trials=3)
    ended = case.run()
    assert ended.code == 0, ended.output


@pytest.mark.parametrize(
    "changes",
    [{"workers": 2}, {"algorithm": "tpe"}, {"search_space": {"x": {"type": "float", "min": 0.0, "max": 0.5}}}],
)
def test_a_harmless_change_is_none(case: Case, changes: dict[str, Any]) -> None:
    case.write(n_trials=2)
    assert case.run().code == 0
    case.write(**({"n_trials": 4} | changes))
    ended = case.run()
    assert ended.code == 0, ended.output
    assert len(case.complete()) == 4


@pytest.mark.parametrize("moved", [False, True])
def test_the_journals_lock_of_a_killed_process_is_no_obstacle(case: Case, moved: bool) -> None:
    """Optuna's own tools leave such a link behind when they are killed; in a moved folder it names nothing."""
    case.write(n_trials=2)
    assert case.run().code == 0
    link = case.folder.path / "journal.log.lock"
    link.symlink_to(case.folder.path.with_name("elsewhere") / "journal.log" if moved else case.folder.journal)
    case.write(n_trials=3)
    begin = time.monotonic()
    assert case.run(seconds=15).code == 0
    assert time.monotonic() - begin < 6
    assert len(case.complete()) == 3


def test_a_killed_study_goes_on_in_a_moved_folder(case: Case) -> None:
    case.write(n_trials=4, workers=2, seconds=0.1)
    session = case.start()
    case.wait_for_trials(2)
    session.kill()
    case.assert_nothing_lives()
    moved = case.root / "elsewhere"
    shutil.move(case.folder.path, moved)
    ended = case.run("--out", str(moved))
    assert ended.code == 0, ended.output
    case.folder = type(case.folder)(moved)
    assert_sound(case)
    assert len(case.complete()) == 4
