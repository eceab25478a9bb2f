"""The block that `run` and `status --watch` draw, by hand: what it says, how it fits, and what it expects."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState
from rich.console import Console

from analysis.study_records import trial
from rltune.cli.views.block import block
from rltune.cli.views.curves import Curves, Tick
from rltune.cli.views.pace import SILENT_SECONDS, Outlook, seconds_per_step
from rltune.cli.views.snapshot import Snapshot
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.budget import Budget, FullRun
from rltune.protocol.decision import Finals
from rltune.protocol.finals import Rules
from rltune.reporting import wording as w
from rltune.types import Cause, Measurement, Purpose

UP, DOWN = Objective("accuracy", "maximize"), Objective("seconds", "minimize")
FINALS = Finals(6, Rules(finalists=2, claim_seeds=2, most_claim_seeds=4))
PLAN = {
    "phases": {"baseline": 3, "search": 20, "final": 6, "claim": 4},
    "default": {"lr": 0.1},
    "finals": FINALS.to_json(),
}


@pytest.fixture
def folder(tmp_path):
    return StudyDir(tmp_path)


def baseline(values=(0.50, 0.52, 0.54)):
    return [trial(n, v, {"lr": 0.1}, purpose=Purpose.BASELINE, ran=(0, 60)) for n, v in enumerate(values)]


def searched(*values, first=3):
    return [trial(first + i, v, {"lr": 1 / (1 + first + i)}, ran=(0, 60)) for i, v in enumerate(values)]


def fresh(purpose, n, first):
    return [trial(first + i, 0.6, {"lr": (0.1, 0.2)[i % 2]}, purpose=purpose, ran=(0, 60)) for i in range(n)]


def begun(number, purpose=Purpose.SEARCH, seconds=120.0):
    made = trial(number, None, {"lr": 0.5}, state=TrialState.RUNNING, purpose=purpose)
    now = dt.datetime.now()  # noqa: DTZ005 - Optuna's times are naive local ones
    return replace(made, started=now - dt.timedelta(seconds=seconds), finished=None)


def study(folder, records, **fields):
    facts = {"name": "demo", "objectives": [UP], "plan": PLAN, "elapsed_seconds": 600.0, "workers": 2}
    return Snapshot(folder=folder, records=records, **(facts | fields))


def measure(folder, number, curve, every=10.0, **others):
    directory = folder.trial(number)
    directory.path.mkdir(parents=True, exist_ok=True)
    for step, value in curve.items():
        directory.append_measurement(Measurement(step, {"accuracy": value, **others}, step * every))


def outlook(snapshot, now=None):
    return Outlook.of(snapshot, Curves(snapshot.folder, snapshot.objective.metric), now)


def shown(snapshot, width=80, height=None, **fields):
    console = Console(width=width, color_system=None, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    with console.capture() as text:
        console.print(block(snapshot, outlook(snapshot), width=width, height=height, **fields))
    console.file.close()
    return text.get()


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_block_of_a_study_in_its_middle(folder):
    records = [*baseline(), *searched(0.61, 0.55), trial(5, cause=Cause.DIVERGED), trial(6, cause=Cause.DIVERGED)]
    records += [trial(7, cause=Cause.OUT_OF_MEMORY), begun(8), trial(9, state=TrialState.WAITING)]
    measure(folder, 8, {step: step / 100 for step in range(1, 13)})
    full_run = FullRun(horizon=20)
    text = shown(study(folder, records, full_run=full_run, budget=Budget(20.0, "FRE", full_run)), width=100)
    assert "demo  8 of 33 trials  10 min" in text
    assert "budget     5.5 of 20 FRE, and 2 for what has not ended" in text
    assert "best       0.610 ± 0.020  trial 3  accuracy, higher is better" in text
    assert "failed     3  2 diverged, 1 out of memory" in text
    assert "queued     1 trial" in text
    row = next(line for line in text.splitlines() if "trial 8" in line)
    assert re.search(r"running    trial 8  search +▁▂▂▃▄▄▅▅▆▇▇█  0.12 +step 12 of 20 +2 min .*2 min left$", row), row


def test_each_objective_has_its_best_and_its_noise(folder):
    two = [(0.5, 3.0), (0.52, 3.2), (0.54, 3.4)]
    records = [replace(r, values=v) for r, v in zip(baseline(), two, strict=True)]
    records += [replace(r, values=v) for r, v in zip(searched(0, 0), [(0.9, 9.0), (0.6, 1.0)], strict=True)]
    measure(folder, 5, {1: 0.7}, seconds_=1.0)
    text = shown(study(folder, [*records, begun(5)], objectives=[UP, DOWN], plan=PLAN | {"finals": None}))
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("best"))
    assert lines[at] == "best       0.900 ± 0.020  trial 3  accuracy, higher is better"
    assert lines[at + 1] == "           1.00 ± 0.20    trial 4  seconds, lower is better"
    assert lines[at + 2].startswith("front      2 trials")
    assert "default    0.520 ± 0.020, 3.20 ± 0.20  3 seeds" in lines


@pytest.mark.parametrize(
    ("later", "phase", "phases"),
    [
        ([], "search", "baseline 3/3 · search 2/20 · final 0/6 · claim 0/4"),
        ([*fresh(Purpose.FINAL, 2, 5)], "final", "baseline 3/3 · search 2/2 · final 2/6 · claim 0/4"),
        # The claim has begun after 4 finals of 6, so it has what these have left over.
        (
            [*fresh(Purpose.FINAL, 4, 5), *fresh(Purpose.CLAIM, 1, 9), begun(10, Purpose.CLAIM)],
            "claim",
            "baseline 3/3 · search 2/2 · final 4/4 · claim 1/6",
        ),
    ],
)
def test_it_shows_in_which_phase_the_study_is(folder, later, phase, phases):
    snapshot = study(folder, [*baseline(), *searched(0.6, 0.7), *later])
    assert snapshot.phase == phase
    assert phases in shown(snapshot)


def test_before_the_first_trial_and_after_the_last(folder):
    assert study(folder, []).phase == "baseline"
    everything = [*baseline(), *searched(0.6, 0.7), *fresh(Purpose.FINAL, 4, 5), *fresh(Purpose.CLAIM, 2, 9)]
    over = study(folder, everything, plan=PLAN | {"finished": True})
    assert over.phase == ""
    assert "11 of 11 trials" in shown(over)
    assert outlook(over).study is None


# --- how it fits ------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(folder):
    for number in range(4, 20):
        measure(folder, number, {step: step / 7 for step in range(1, 300)}, every=0.01)
    return study(folder, [*baseline(), *searched(0.6), *(begun(n) for n in range(4, 20))])


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_none_is_broken(busy, width):
    lines = shown(busy, width, height=24).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "trial " in line[11:20]]
    assert ("42.7" in rows[0]) is (width >= 40), "the value"
    assert ("█" in rows[0]) is (width >= 80)
    assert ("search" in rows[0]) is (width == 200)


def test_what_has_no_room_is_counted(busy):
    low = shown(busy, height=16)
    assert "trial 9" in low
    assert "trial 19" not in low
    assert len(low.splitlines()) == 16
    hidden = 16 - sum("step 299" in line for line in low.splitlines())
    assert f"+{hidden} more" in low
    assert "more" not in shown(busy, height=60)
    assert sum("step 299" in line for line in shown(busy, height=1).splitlines()) == 1


# --- what it expects --------------------------------------------------------------------------------------------------


def test_the_pace_is_that_of_the_later_half():
    assert seconds_per_step([]) is None
    assert seconds_per_step([Tick(4, 8.0)]) == 2.0
    slow_start = [Tick(step, 100.0 + 2.0 * step) for step in range(1, 41)]
    assert seconds_per_step(slow_start) == 2.0
    each_tenth_evaluates = [Tick(step, step + 10.0 * (step // 10)) for step in range(1, 101)]
    assert seconds_per_step(each_tenth_evaluates) == pytest.approx(2.0, rel=0.02)


def test_a_trial_without_a_horizon_ends_where_whole_ones_did(folder):
    whole = [trial(n, 0.5, {"lr": n}, curve={10: 0.1, 50: 0.5}, ran=(0, 500)) for n in range(2)]
    measure(folder, 2, {10: 0.1, 20: 0.2})
    found = outlook(study(folder, [*whole, begun(2, seconds=200), begun(3, seconds=100)], plan={}))
    assert found.horizon == 50
    assert found.left[2] == pytest.approx(300, abs=2), "30 steps of 10 s each"
    assert found.left[3] == pytest.approx(400, abs=2), "500 s less 100 s: it has measured nothing yet"


def test_a_trial_in_folds_goes_by_its_folds(folder):
    measure(folder, 0, {1: 0.1, 2: 0.2})
    found = outlook(study(folder, [begun(0, seconds=100)], plan={"folds": 5}))
    assert found.left[0] == pytest.approx(150, abs=2)


def test_a_study_takes_what_its_trials_have_taken(folder):
    plan = {"phases": {"search": 12}}
    minute = study(folder, searched(*[0.5] * 4, first=0), plan=plan)
    assert outlook(minute).study == pytest.approx(8 * 60 / 2)
    assert outlook(replace(minute, timeout_seconds=650.0)).study == 50.0
    measure(folder, 0, dict.fromkeys(range(1, 11), 0.1))
    first = study(folder, [begun(0, seconds=100)], plan=plan, full_run=FullRun(horizon=40), workers=1)
    assert outlook(first).study == pytest.approx(12 * 400 - 100, rel=0.01), "known before any trial has ended"
    assert outlook(study(folder, [begun(1)], plan=plan)).study is None


def test_a_budget_ends_the_search_before_its_trials_do(folder):
    full_run = FullRun()
    plan = {"phases": {"search": 100, "claim": 2}}
    given = study(folder, searched(*[0.5] * 4, first=0), plan=plan, budget=Budget(10.0, "FRE", full_run), workers=1)
    assert outlook(given).study == pytest.approx(4 * 60 + 2 * 60)


def test_a_trial_that_falls_silent_is_shown_first_with_how_long(folder):
    for number in (0, 1):
        measure(folder, number, {1: 0.1, 2: 0.2, 3: 0.3}, every=5.0)
    now = time.time()
    os.utime(folder.trial(1).metrics, (now - 95, now - 95))
    snapshot = study(folder, [begun(0), begun(1)])
    assert set(outlook(snapshot).silent) == {1}
    rows = [line for line in shown(snapshot).splitlines() if "trial " in line and "step" in line]
    assert "trial 1" in rows[0]
    assert "silent for 1 min 35 s" in rows[0]
    assert "silent" not in rows[1]
    assert outlook(snapshot, now + SILENT_SECONDS - 1).silent.keys() == {1}


def test_a_long_pause_that_it_has_made_before_is_no_silence(folder):
    measure(folder, 0, {1: 0.1, 2: 0.2}, every=200.0)
    assert outlook(study(folder, [begun(0)]), time.time() + 300).silent == {}
    assert outlook(study(folder, [begun(0)]), time.time() + 500).silent != {}


# --- the files --------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_grows_and_never_twice(folder, monkeypatch):
    measure(folder, 0, {1: 0.1, 2: 0.2})
    curves = Curves(folder, "accuracy")
    assert curves.of(0).values == [0.1, 0.2]
    read = []
    decode = json.loads
    monkeypatch.setattr("rltune.cli.views.curves.json.loads", lambda line: read.append(line) or decode(line))
    with folder.trial(0).metrics.open("ab") as file:
        file.write(b'{"step": 3, "accuracy": 0.3}\n{"step": 4, "accu')
    assert curves.of(0).values == [0.1, 0.2, 0.3]
    with folder.trial(0).metrics.open("ab") as file:
        file.write(b'racy": 0.4}\n')
    assert curves.of(0).values == [0.1, 0.2, 0.3, 0.4]
    assert len(read) == 2
    curves.forget_all_but([])
    assert curves.of(0).step == 4
    assert len(read) == 6


def test_a_strange_file_and_none(folder):
    folder.trial(0).path.mkdir(parents=True)
    folder.trial(0).metrics.write_text(
        '{"step": 4, "accuracy": 0.25}\n[1]\nnull\n"x"\n{"step": 5, "other": 1}\n{"step": "x"}\n{"accuracy": 1}\n'
        '{"step": 6, "accuracy": null}\n{"step": 1e999, "accuracy": 1}\n{"step": 6, "accuracy": NaN}\n{"step": 7, "acc'
    )
    curve = Curves(folder, "accuracy").of(0)
    assert (curve.step, len(curve.values), curve.ticks[-1].step) == (6, 2, 6)
    assert Curves(folder, "accuracy").of(77).heard is None
    assert "no value yet" in shown(study(folder, [begun(77)]), 40)


def test_a_trainer_that_begins_anew_begins_its_curve_anew(folder):
    measure(folder, 0, {1: 0.1, 2: 0.2, 3: 0.3})
    measure(folder, 0, {1: 0.5, 2: 0.6})
    curve = Curves(folder, "accuracy").of(0)
    assert curve.values == [0.5, 0.6]
    assert [tick.step for tick in curve.ticks] == [1, 2]


def test_of_a_huge_file_only_the_end_is_read(folder, monkeypatch):
    monkeypatch.setattr("rltune.cli.views.curves._MOST_BYTES", 200)
    measure(folder, 0, {step: step / 1000 for step in range(1, 1000)})
    curve = Curves(folder, "accuracy").of(0)
    assert curve.step == 999
    assert len(curve.values) < 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (11, "20 s"), (55, "1 min"), (61, "2 min"), (3590, "1 h"), (7300, "2 h 10 min"), (9e4, "1 d 1 h")],
)
def test_what_is_a_guess_is_told_roughly(seconds, text):
    assert w.roughly(seconds) == text


def test_paths_need_no_folder_of_the_trial(tmp_path):
    assert Curves(StudyDir(Path(tmp_path / "gone")), "accuracy").of(0).values == []
