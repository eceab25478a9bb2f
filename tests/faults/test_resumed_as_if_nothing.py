"""With one worker, a study that was stopped or killed on its way suggests what it would have suggested anyway."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fault_harness import Case, assert_sound

from rltune import records as rec
from rltune.types import Purpose

pytestmark = pytest.mark.slow

SPACE: dict[str, Any] = {
    "x": {"type": "float", "min": 0.0, "max": 1.0},
    "rate": {"type": "float", "min": 1e-5, "max": 1e-2, "log": True},
    "layers": {"type": "int", "min": 1, "max": 8},
    "optimizer": {"type": "categorical", "choices": ["adamw", "muon"]},
    "momentum": {"type": "float", "min": 0.8, "max": 0.99, "when": "optimizer == 'muon'"},
}
GRID: dict[str, Any] = {
    "x": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25},
    "layers": {"type": "int", "min": 1, "max": 4},
}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tpe": ("tpe", SPACE),
    "random": ("random", SPACE),
    "sobol": ("sobol", SPACE),
    "grid": ("grid", GRID),
    "cmaes": ({"name": "cmaes", "popsize": 4}, SPACE),
    "nsga2": ({"name": "nsga2", "population_size": 4}, SPACE),
}
N_TRIALS = 16


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_suggestions(tmp_path: Path, name: str) -> None:
    ends = [(signal.SIGKILL, 4), (signal.SIGTERM, 3), (signal.SIGINT, 4)]
    with ThreadPoolExecutor(2) as pool:
        straight = pool.submit(_suggestions, Case(tmp_path / "straight"), name, [])
        ended = pool.submit(_suggestions, Case(tmp_path / "ended"), name, ends)
    assert len(straight.result()) == N_TRIALS
    assert ended.result() == straight.result()


def _suggestions(case: Case, name: str, ends: list[tuple[signal.Signals, int]]) -> list[Mapping[str, Any]]:
    """What each trial was given, runs again left out; the study is ended by signals, after so many trials more."""
    algorithm, space = ALGORITHMS[name]
    case.write(n_trials=N_TRIALS, steps=2, seconds=0.03, algorithm=algorithm, search_space=space)
    try:
        for number, n in ends:
            session = case.start()
            case.wait_for_trials(n)
            session.send(number)
            assert session.end().code in (75, 130, -9)
            case.assert_nothing_lives()
        assert case.run().code == 0
    finally:
        case.close()
    assert_sound(case)
    assert len(case.complete()) == N_TRIALS
    records = case.records()
    assert sum(r.retry_of is not None for r in records) in range(len(ends) + 1)
    return [r.params for r in rec.originals(records)]


def test_the_same_decisions_whatever_phase_is_killed(tmp_path: Path) -> None:
    """Baseline, search, finals and claim: what runs is cut short in each of them."""
    with ThreadPoolExecutor(2) as pool:
        straight = pool.submit(_decisions, Case(tmp_path / "straight"), [])
        killed = pool.submit(_decisions, Case(tmp_path / "killed"), [0, 3, 6, 1, 2, 1])
    assert killed.result() == straight.result()
    trials, verdict = straight.result()
    assert {purpose for purpose, _, _ in trials} == {Purpose.BASELINE, Purpose.SEARCH, Purpose.FINAL, Purpose.CLAIM}
    assert verdict["ship"] is True
    assert verdict["seeds"] == "claim"


def _decisions(case: Case, ends: list[int]) -> tuple[list[Any], dict[str, Any]]:
    """What ran and what came out; the study is killed once so many trials more have begun, and one more."""
    protocol = {"name": "full", "baseline_seeds": 2, "finalists": 2, "final_runs": 5, "claim_seeds": 2}
    space = {"x": {"type": "float", "min": 0.0, "max": 1.0, "default": 1.0}}
    case.write(n_trials=18, steps=2, seconds=0.05, search_space=space, protocol=protocol, algorithm="tpe")
    try:
        for n in ends:
            session = case.start()
            case.wait_for_trials(n + 1)
            session.send(signal.SIGKILL)
            session.end()
            case.assert_nothing_lives()
        assert case.run().code == 0
    finally:
        case.close()
    assert_sound(case)
    trials = [(r.purpose, dict(r.params), r.seed) for r in rec.originals(case.records())]
    return trials, json.loads(case.folder.verdict.read_text())
